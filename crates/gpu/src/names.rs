//! What a device is called: in the list of PCI ids, and as a resource of Kubernetes.

/// A name from `pci.ids`: a vendor's line starts with its id, its devices follow, each after one tab.
pub(crate) fn device_name(ids: &str, vendor: u16, device: u16) -> Option<String> {
    let vendor = format!("{vendor:04x}  ");
    let device = format!("\t{device:04x}  ");
    let mut lines = ids.lines().skip_while(|line| !line.starts_with(&vendor));
    lines.next()?;
    let of_vendor = lines.take_while(|line| line.starts_with('\t') || line.starts_with('#') || line.is_empty());
    of_vendor.into_iter().find_map(|line| line.strip_prefix(&device)).map(|name| name.trim().to_owned())
}

/// The name of a model as a resource, without the domain: `GH100 [H100 SXM5 80GB]` is `GH100_H100_SXM5_80GB`. This is
/// the rule of NVIDIA's sandbox device plugin, so that pods that name a model find it here as well: upper case, `/`,
/// `.` and runs of blanks become `_`, and everything but letters, digits, `_` and `-` goes. `None` when nothing is left.
pub fn resource_name(model: &str) -> Option<String> {
    let words: Vec<&str> = model.split_whitespace().collect();
    let name: String = words
        .join("_")
        .chars()
        .map(|c| if matches!(c, '/' | '.') { '_' } else { c.to_ascii_uppercase() })
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
        .collect();
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NVIDIA: u16 = 0x10de;
    const IDS: &str = "\
# a comment
10dd  Other
\t2330  Not this
10de  NVIDIA Corporation
# another
\t2330  GH100 [H100 SXM5 80GB]
\t\t10de 16c1  a subsystem
\t2331  GH100 [H100 PCIe]
10df  Emulex
\t2335  Not this either
";

    #[test]
    fn a_name_is_looked_up_under_its_own_vendor() {
        assert_eq!(device_name(IDS, NVIDIA, 0x2330).as_deref(), Some("GH100 [H100 SXM5 80GB]"));
        assert_eq!(device_name(IDS, NVIDIA, 0x2331).as_deref(), Some("GH100 [H100 PCIe]"));
    }

    #[test]
    fn unknown_devices_vendors_and_subsystems_have_no_name() {
        assert_eq!(device_name(IDS, NVIDIA, 0x2335), None);
        assert_eq!(device_name(IDS, NVIDIA, 0x10de), None);
        assert_eq!(device_name(IDS, 0x1234, 0x2330), None);
        assert_eq!(device_name("", NVIDIA, 0x2330), None);
    }

    #[test]
    fn resources_are_named_as_the_sandbox_device_plugin_names_them() {
        for (model, name) in [
            ("GH100 [H100 SXM5 80GB]", "GH100_H100_SXM5_80GB"),
            ("GA102GL [A10]", "GA102GL_A10"),
            ("GH100 [GH200 120GB / 480GB]", "GH100_GH200_120GB___480GB"),
            ("GB202GL [RTX PRO 6000 Blackwell Server Edition]", "GB202GL_RTX_PRO_6000_BLACKWELL_SERVER_EDITION"),
            ("a\t b.c-d (e)", "A_B_C-D_E"),
        ] {
            assert_eq!(resource_name(model).as_deref(), Some(name));
        }
        assert_eq!(resource_name(" [] "), None);
        assert_eq!(resource_name(""), None);
    }
}
