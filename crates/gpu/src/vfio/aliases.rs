//! Which VFIO driver is the best for a device: the kernel's module aliases, matched as libvirt matches them.
//!
//! Drivers for VFIO have aliases that begin with `vfio_pci:`. The plain one matches everything; one that knows a
//! device, such as Grace Hopper's with its memory, has an alias with fewer wildcards.

/// The plain driver's module. A kernel that has it built in has no alias for it.
pub(super) const PLAIN: &str = "vfio_pci";

/// The module whose alias matches with the fewest wildcards; the plain one where none does.
pub(super) fn best(aliases: &str, modalias: &str) -> String {
    let wanted = modalias.strip_prefix("pci:").map(|rest| format!("vfio_pci:{rest}"));
    let candidates = aliases.lines().filter_map(|line| {
        let mut words = line.strip_prefix("alias ")?.split_whitespace();
        let (pattern, module) = (words.next()?, words.next()?);
        let fits = pattern.starts_with("vfio_pci:") && matches(pattern.as_bytes(), wanted.as_deref()?.as_bytes());
        fits.then(|| (pattern.bytes().filter(|byte| matches!(byte, b'*' | b'?' | b'[')).count(), module))
    });
    // The first of equals, as depmod has written them.
    let best = candidates.min_by_key(|(wildcards, _)| *wildcards);
    best.map_or(PLAIN, |(_, module)| module).to_owned()
}

/// Shell patterns as depmod writes them: `*`, `?` and `[…]` with ranges. Takes time in proportion to the product of the
/// lengths: after each star only the latest one is ever gone back to.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p, t));
            p += 1;
        } else if let Some(length) = one(&pattern[p..], text[t]) {
            p += length;
            t += 1;
        } else if let Some((at, taken)) = star {
            (p, t) = (at + 1, taken + 1);
            star = Some((at, taken + 1));
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// The length of the pattern's first part when it matches this byte.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match *pattern.first()? {
        b'*' => None,
        b'?' => Some(1),
        b'[' => {
            let end = pattern.iter().position(|byte| *byte == b']')?;
            let set = pattern.get(1..end)?;
            let mut rest = set;
            while let Some((&first, after)) = rest.split_first() {
                let (last, after) = match after {
                    [b'-', last, after @ ..] => (*last, after),
                    _ => (first, after),
                };
                if (first..=last).contains(&byte) {
                    return Some(end + 1);
                }
                rest = after;
            }
            None
        }
        literal => (literal == byte).then_some(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALIASES: &str = "\
# Aliases extracted from modules themselves.
alias pci:v000010DEd00002342sv*sd*bc*sc*i* nvidia
alias vfio_pci:v*d*sv*sd*bc*sc*i* vfio_pci
alias vfio_pci:v000010DEd00002342sv*sd*bc*sc*i* nvgrace_gpu_vfio_pci
alias vfio_pci:v000015B3d0000101Esv*sd*bc*sc*i* mlx5_vfio_pci
alias vfio_pci:
alias
";

    #[test]
    fn the_alias_that_knows_the_device_wins() {
        let best = |id: &str| best(ALIASES, &format!("pci:v000010DEd0000{id}sv000010DEsd000016EBbc03sc02i00"));
        assert_eq!(best("2342"), "nvgrace_gpu_vfio_pci");
        assert_eq!(best("2330"), "vfio_pci");
    }

    #[test]
    fn without_an_alias_it_is_the_plain_driver() {
        assert_eq!(best("", "pci:v000010DEd00002330sv0sd0bc03sc02i00"), "vfio_pci");
        assert_eq!(best(ALIASES, "usb:v1D6Bp0002"), "vfio_pci");
        assert_eq!(best(ALIASES, ""), "vfio_pci");
    }

    #[test]
    fn patterns_match_as_in_a_shell() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("*", "", true),
            ("a*", "abc", true),
            ("a*c", "abcbc", true),
            ("a*c", "abcb", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("v[0-3]x", "v2x", true),
            ("v[0-3]x", "v4x", false),
            ("v[abc]", "vb", true),
            ("v[", "v[", false),
            ("v[]", "v", false),
            ("**b**", "aab", true),
            ("abc", "abcd", false),
            ("abcd", "abc", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn many_stars_take_no_time() {
        let pattern = "a*".repeat(200) + "b";
        assert!(!matches(pattern.as_bytes(), "a".repeat(2000).as_bytes()));
    }
}
