use super::*;
use crate::agent::crd::ResourceNames;
use crate::agent::policy::{CcManager, SandboxWorkloads};

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned())).collect()
}

fn configuration(name: &str, selector: &[(&str, &str)], mode: Option<CcMode>) -> NodeConfiguration {
    let node_selector = (!selector.is_empty()).then(|| labels(selector));
    NodeConfiguration::new(name, NodeConfigurationSpec { node_selector, cc_mode: mode, ..Default::default() })
}

fn kata(default_mode: &str, manager: bool) -> ClusterPolicy {
    ClusterPolicy {
        sandbox_workloads: SandboxWorkloads {
            enabled: Some(true),
            default_workload: Some("vm-passthrough".into()),
            mode: Some("kata".into()),
        },
        cc_manager: CcManager { enabled: Some(manager), default_mode: Some(default_mode.into()) },
        ..Default::default()
    }
}

fn by_configuration(mode: CcMode, name: &str) -> Wish {
    Wish::Mode { mode, source: Source::Configuration(name.into()) }
}

#[test]
fn the_label_wins_over_configurations_and_those_over_the_policy() {
    let cluster = configuration(CLUSTER, &[], Some(CcMode::On));
    let hgx = configuration("hgx", &[("board", "hgx")], Some(CcMode::Ppcie));
    let policy = kata("devtools", false);
    let decide = |node: &[(&str, &str)], configurations: &[&NodeConfiguration], policy: Option<&ClusterPolicy>| {
        decide(&labels(node), configurations.iter().copied(), policy, true).mode
    };
    let label = Wish::Mode { mode: CcMode::Off, source: Source::Label };
    assert_eq!(decide(&[("nvidia.com/cc.mode", "off"), ("board", "hgx")], &[&cluster, &hgx], Some(&policy)), label);
    assert_eq!(decide(&[("board", "hgx")], &[&cluster, &hgx], Some(&policy)), by_configuration(CcMode::Ppcie, "hgx"));
    assert_eq!(decide(&[("board", "pcie")], &[&cluster, &hgx], None), by_configuration(CcMode::On, CLUSTER));
    assert_eq!(decide(&[("nvidia.com/cc.mode", "")], &[&cluster], None), by_configuration(CcMode::On, CLUSTER));
    let operator = Wish::Mode { mode: CcMode::Devtools, source: Source::ClusterPolicy };
    assert_eq!(decide(&[], &[&hgx], Some(&policy)), operator);
    assert_eq!(decide(&[("nvidia.com/gpu.workload.config", "container")], &[], Some(&policy)), Wish::AsIs);
    assert_eq!(decide(&[], &[], None), Wish::AsIs);
}

/// Labels of a node, a policy, and the refusal's reason and words.
type Refused<'a> = (&'a [(&'a str, &'a str)], Option<ClusterPolicy>, &'a str, &'a str);

#[test]
fn what_makes_no_sense_is_refused_and_says_what_to_do() {
    let a = configuration("a", &[("x", "1")], Some(CcMode::On));
    let b = configuration("b", &[("y", "1")], Some(CcMode::Off));
    let cases: [Refused<'_>; 5] = [
        (
            &[("nvidia.com/cc.mode", "onn")],
            None,
            "UnknownMode",
            "label `nvidia.com/cc.mode`: `onn` is no mode; the modes are `on`, `off`, `devtools` and `ppcie`",
        ),
        (
            &[("nvidia.com/cc.mode", "On")],
            None,
            "UnknownMode",
            "label `nvidia.com/cc.mode`: `On` is no mode; the modes are `on`, `off`, `devtools` and `ppcie`",
        ),
        (
            &[("x", "1"), ("y", "1")],
            None,
            "ConfigurationsDisagree",
            "nodeconfigurations `a` and `b` select this node and disagree about `ccMode`",
        ),
        (
            &[],
            Some(kata("always", false)),
            "UnknownMode",
            "the ClusterPolicy's `ccManager.defaultMode`: `always` is no mode; the modes are `on`, `off`, `devtools` and `ppcie`",
        ),
        (
            &[("nvidia.com/gpu.deploy.cc-manager", "true"), ("nvidia.com/cc.mode", "on")],
            Some(kata("on", true)),
            "AnotherManager",
            "the GPU Operator's CC manager runs on this node (`nvidia.com/gpu.deploy.cc-manager=true`)",
        ),
    ];
    for (node, policy, reason, message) in cases {
        let settings = decide(&labels(node), [&a, &b], policy.as_ref(), true);
        let Wish::Refused(refusal) = settings.mode else { panic!("{node:?}: {:?}", settings.mode) };
        assert_eq!((refusal.reason(), refusal.to_string().as_str()), (reason, message));
        assert!(!refusal.hint().is_empty());
    }
}

#[test]
fn two_configurations_that_agree_are_one() {
    let a = configuration("a", &[("x", "1")], Some(CcMode::On));
    let b = configuration("b", &[("y", "1")], Some(CcMode::On));
    let silent = configuration("c", &[("x", "1")], None);
    let settings = decide(&labels(&[("x", "1"), ("y", "1")]), [&a, &b, &silent], None, true);
    assert_eq!(settings.mode, by_configuration(CcMode::On, "a"));
}

#[test]
fn a_default_means_off_where_the_machine_runs_no_confidential_guest() {
    let cluster = configuration(CLUSTER, &[], Some(CcMode::On));
    let mode = |node: &[(&str, &str)]| decide(&labels(node), [&cluster], None, false).mode;
    assert_eq!(mode(&[]), by_configuration(CcMode::Off, CLUSTER));
    let label = Wish::Mode { mode: CcMode::On, source: Source::Label };
    assert_eq!(mode(&[("nvidia.com/cc.mode", "on")]), label, "an explicit label holds");
}

#[test]
fn a_configuration_without_selector_selects_nothing() {
    let stray = configuration("stray", &[], Some(CcMode::On));
    assert_eq!(decide(&labels(&[("a", "b")]), [&stray], None, true).mode, Wish::AsIs);
    assert!(!selects(
        &NodeConfigurationSpec { node_selector: Some(Labels::new()), ..Default::default() },
        &labels(&[])
    ));
}

#[test]
fn fields_are_replaced_one_by_one() {
    let mut cluster = configuration(CLUSTER, &[], None);
    cluster.spec.vfio = Some(Vfio { enabled: true, switches: false });
    cluster.spec.runtimes = Some(vec![Runtime::Snp]);
    let mut models = configuration("models", &[("x", "1")], None);
    models.spec.device_plugin = Some(DevicePlugin { resource_names: ResourceNames::Model });
    models.spec.runtimes = Some(vec![]);
    let settings = decide(&labels(&[("x", "1")]), [&cluster, &models], None, true);
    assert!(settings.vfio.enabled && settings.runtimes.is_empty());
    assert_eq!(settings.device_plugin.resource_names, ResourceNames::Model);
    assert_eq!(decide(&labels(&[]), [&cluster, &models], None, true).runtimes, [Runtime::Snp]);
    assert_eq!(holding(&labels(&[("x", "1")]), [&cluster, &models]).len(), 2);
}

#[test]
fn a_node_that_is_kept_for_containers_is_left_alone_by_what_holds_for_all() {
    let mut cluster = configuration(CLUSTER, &[], Some(CcMode::On));
    cluster.spec.vfio = Some(Vfio { enabled: true, switches: true });
    cluster.spec.bundle = Some("/b.toml".into());
    let container = ("nvidia.com/gpu.workload.config", "container");
    let kept = decide(&labels(&[container]), [&cluster], None, true);
    assert_eq!((kept.mode, kept.vfio), (Wish::AsIs, Vfio::default()));
    assert_eq!(kept.bundle.as_deref(), Some("/b.toml"), "Kata without a GPU may be there all the same");
    let chosen = configuration("chosen", &[("pool", "gpu")], Some(CcMode::On));
    let named = decide(&labels(&[container, ("pool", "gpu")]), [&cluster, &chosen], None, true);
    assert_eq!(named.mode, by_configuration(CcMode::On, "chosen"));
    let label = decide(&labels(&[container, ("nvidia.com/cc.mode", "on")]), [&cluster], None, true);
    assert_eq!(label.mode, Wish::Mode { mode: CcMode::On, source: Source::Label });
    let guests = decide(&labels(&[("nvidia.com/gpu.workload.config", "vm-passthrough")]), [&cluster], None, true);
    assert_eq!(guests.vfio, Vfio { enabled: true, switches: true });
}
