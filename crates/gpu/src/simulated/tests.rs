use super::*;
use crate::bus::Sysfs;
use crate::pci::scan;

#[test]
fn registers_are_also_a_file_that_can_be_mapped() {
    let dir = tempfile::tempdir().unwrap();
    let host = Host::new(dir.path(), Arc::new(VirtualClock::default()));
    for (number, model) in [(1, Model::H100), (2, Model::B200), (3, Model::RtxPro6000), (4, Model::NvSwitch)] {
        host.add(at(number), model);
    }
    for mode in [Mode::On, Mode::Off, Mode::Devtools] {
        host.put_at(mode);
        host.write_registers();
        let bus: Arc<dyn Bus> = Arc::new(Sysfs::new(host.machine()));
        for device in scan(&host.machine()).unwrap().devices {
            let card = crate::Card::open(&bus, &host.clock(), &device).unwrap();
            card.is_at(mode).unwrap_or_else(|error| panic!("{} {error}", device.address));
        }
    }
}

#[test]
fn a_board_has_the_files_of_one() {
    let dir = tempfile::tempdir().unwrap();
    let host = Host::new(dir.path(), Arc::new(VirtualClock::default()));
    host.hgx();
    let scan = scan(&host.machine()).unwrap();
    assert_eq!((scan.gpus().count(), scan.switches().count()), (8, 4));
    let first = &scan.devices[0];
    assert_eq!(first.model_resource().as_deref(), Some("GH100_H100_SXM5_80GB"));
    assert_eq!(first.iommu_group.as_deref(), Some("16"));
    assert_eq!(first.modalias.as_deref(), Some("pci:v000010DEd00002330sv00000000sd00000000bc03sc02i00"));
}

#[test]
fn a_life_ends_before_or_after_its_effect() {
    for (death, seen) in [(Death::Before, 2), (Death::After, 3)] {
        let life = Life::until(2, death, Count::KnobWrites);
        let mut world = 0;
        for _ in 0..5 {
            let _ = life.effect(|| world += 1);
        }
        assert_eq!(world, seen);
        assert!(life.is_over());
    }
}
