//! What an event's data say, for people. Everything here comes from the host: it is printable and bounded, and nothing
//! decides by it.

use super::EventKind;

/// LIMIT: of a kernel command line, as much as a screen shows; longer text is cut.
const TEXT: usize = 512;

/// LIMIT: of a name, as much as a line shows.
const NAME: usize = 128;

/// LIMIT: of a value without text, as many bytes as say something to a person.
const VALUE: usize = 16;

pub(super) struct Described {
    pub(super) name: String,
    pub(super) text: String,
}

/// `UEFI_VARIABLE_DATA`: GUID, number of characters, bytes of the value, UTF-16 name, value.
pub(super) struct Variable<'a> {
    name: &'a [u8],
    pub(super) value: &'a [u8],
}

impl<'a> Variable<'a> {
    pub(super) fn parse(data: &'a [u8]) -> Option<Self> {
        let (_guid, rest) = data.split_at_checked(16)?;
        let (characters, rest) = quad(rest)?;
        let (bytes, rest) = quad(rest)?;
        let (name, value) = rest.split_at_checked(characters.checked_mul(2)?)?;
        (value.len() == bytes).then_some(Self { name, value })
    }
}

/// What td-shim logs: a name of 16 bytes, a length, that many bytes.
pub(super) struct Tagged<'a> {
    name: &'a [u8],
    pub(super) body: &'a [u8],
}

impl<'a> Tagged<'a> {
    pub(super) fn parse(data: &'a [u8]) -> Option<Self> {
        let (name, rest) = data.split_at_checked(16)?;
        let (length, body) = long(rest)?;
        (body.len() == length).then_some(Self { name, body })
    }

    pub(super) fn is_td_shim(&self) -> bool {
        self.name.starts_with(b"td_")
    }
}

/// Splits a little-endian number of 8 bytes off.
fn quad(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((usize::try_from(u64::from_le_bytes(*number)).ok()?, rest))
}

/// Splits a little-endian number of 4 bytes off.
fn long(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((usize::try_from(u32::from_le_bytes(*number)).ok()?, rest))
}

/// Without closing zeros.
pub(super) fn trimmed(data: &[u8]) -> &[u8] {
    let end = data.iter().rposition(|byte| *byte != 0).map_or(0, |last| last.saturating_add(1));
    data.get(..end).unwrap_or_default()
}

/// Text of bytes: ASCII, anything else shown as `?`; cut.
pub(super) fn printable(bytes: &[u8]) -> String {
    cut(trimmed(bytes).iter().map(|byte| char::from(*byte)), TEXT)
}

fn cut(characters: impl IntoIterator<Item = char>, limit: usize) -> String {
    let mut text = String::new();
    for (count, character) in characters.into_iter().enumerate() {
        if count >= limit {
            text.push('…');
            break;
        }
        text.push(if matches!(character, ' '..='~') { character } else { '?' });
    }
    text
}

/// Text of UTF-16 up to the first zero. Only ASCII is shown: names and paths of boots have nothing else, and look-alikes
/// help nobody.
fn wide(bytes: &[u8]) -> String {
    let units = bytes.chunks_exact(2).filter_map(|pair| pair.first_chunk().map(|pair| u16::from_le_bytes(*pair)));
    let units = units.take_while(|unit| *unit != 0);
    cut(units.map(|unit| char::from_u32(u32::from(unit)).unwrap_or('?')), TEXT)
}

/// Text of data that are text in one encoding or the other; nothing otherwise.
fn text(data: &[u8]) -> Option<String> {
    let plain = |byte: &u8| matches!(byte, b' '..=b'~' | b'\t' | b'\n' | b'\r');
    let ascii = trimmed(data);
    if ascii.is_empty() {
        return None;
    }
    if ascii.iter().all(plain) {
        return Some(printable(data));
    }
    let is_wide = data.len() >= 4
        && data.len().is_multiple_of(2)
        && data.chunks_exact(2).all(|pair| match pair {
            [low, 0] => plain(low) || *low == 0,
            _ => false,
        });
    is_wide.then(|| wide(data))
}

fn value(data: &[u8]) -> String {
    if data.is_empty() {
        return "empty".to_owned();
    }
    match text(data) {
        Some(text) => text,
        None if data.len() <= VALUE => hex::encode(data),
        None => format!("{} bytes", data.len()),
    }
}

pub(super) fn describe(kind: EventKind, data: &[u8]) -> Described {
    let described = match kind {
        EventKind::SEPARATOR => Some(separator(data)),
        EventKind::EFI_VARIABLE_DRIVER_CONFIG
        | EventKind::EFI_VARIABLE_BOOT
        | EventKind::EFI_VARIABLE_BOOT2
        | EventKind::EFI_VARIABLE_AUTHORITY
        | EventKind::EFI_SPDM_DEVICE_POLICY
        | EventKind::EFI_SPDM_DEVICE_AUTHORITY => variable(data),
        EventKind::EFI_BOOT_SERVICES_APPLICATION
        | EventKind::EFI_BOOT_SERVICES_DRIVER
        | EventKind::EFI_RUNTIME_SERVICES_DRIVER => image(data),
        EventKind::EFI_PLATFORM_FIRMWARE_BLOB2 | EventKind::EFI_HANDOFF_TABLES2 | EventKind::POST_CODE2 => blob2(data),
        EventKind::EFI_PLATFORM_FIRMWARE_BLOB | EventKind::POST_CODE => blob(data),
        EventKind::PLATFORM_CONFIG_FLAGS => tagged(data),
        EventKind::IPL => loader(data),
        EventKind::EVENT_TAG => event_tag(data),
        EventKind::EFI_GPT_EVENT | EventKind::EFI_GPT_EVENT2 => gpt(data),
        EventKind::S_CRTM_VERSION => Some(pair("firmware version", &value(data))),
        _ => None,
    };
    let Described { name, text } = described.or_else(|| plain(data)).unwrap_or_else(|| {
        let size = value(data);
        Described { name: size.clone(), text: size }
    });
    Described { name: cut(name.chars(), NAME), text: cut_again(text) }
}

/// A description of several texts may have grown beyond the limit.
fn cut_again(text: String) -> String {
    if text.chars().nth(TEXT.saturating_add(NAME)).is_some() {
        let mut short: String = text.chars().take(TEXT.saturating_add(NAME)).collect();
        short.push('…');
        short
    } else {
        text
    }
}

fn pair(name: &str, value: &str) -> Described {
    Described { name: name.to_owned(), text: format!("{name}: {value}") }
}

fn plain(data: &[u8]) -> Option<Described> {
    text(data).map(|text| Described { name: text.clone(), text })
}

fn separator(data: &[u8]) -> Described {
    match data.first_chunk().map(|word| u32::from_le_bytes(*word)) {
        Some(0) if data.len() == 4 => pair("separator", "0"),
        Some(u32::MAX) if data.len() == 4 => pair("separator", "0xffffffff"),
        _ => pair("separator", &format!("error, {}", value(data))),
    }
}

fn variable(data: &[u8]) -> Option<Described> {
    let variable = Variable::parse(data)?;
    let name = wide(variable.name);
    let shown = match load_option(&name, variable.value) {
        Some(option) => option,
        None => value(variable.value),
    };
    Some(pair(&name, &shown))
}

/// `EFI_LOAD_OPTION` of a variable `Boot0000`: attributes (4), bytes of the path (2), UTF-16 description, path.
fn load_option(name: &str, data: &[u8]) -> Option<String> {
    let number = name.strip_prefix("Boot")?;
    if number.len() != 4 || !number.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let (_, description) = data.split_at_checked(6)?;
    Some(wide(description))
}

/// `UEFI_IMAGE_LOAD_EVENT`: address, length, link-time address, bytes of the device path, device path.
fn image(data: &[u8]) -> Option<Described> {
    let (_, rest) = data.split_at_checked(8)?;
    let (length, rest) = quad(rest)?;
    let (_, rest) = rest.split_at_checked(8)?;
    let (path_length, rest) = quad(rest)?;
    let path = file_path(rest.get(..path_length)?).unwrap_or_else(|| "image without a file".to_owned());
    Some(Described { text: format!("{path}, {length} bytes"), name: path })
}

/// The file in a device path: nodes of type, subtype, length (2), data. UEFI 2.10, section 10.3.5.4.
fn file_path(mut nodes: &[u8]) -> Option<String> {
    const MEDIA: u8 = 4;
    const FILE: u8 = 4;
    const END: u8 = 0x7f;
    let mut path = String::new();
    while let Some(([kind, subtype, low, high], _)) = nodes.split_first_chunk() {
        let length = usize::from(u16::from_le_bytes([*low, *high]));
        // A node holds at least its own header; the walk ends with the bytes at the latest.
        let (node, rest) = nodes.split_at_checked(length.max(4))?;
        match (*kind, *subtype) {
            (END, _) => break,
            (MEDIA, FILE) => path.push_str(&wide(node.get(4..)?)),
            _ => {}
        }
        nodes = rest;
    }
    (!path.is_empty()).then_some(path)
}

/// `UEFI_PLATFORM_FIRMWARE_BLOB2` and its like: bytes of the description (1), description, address, length.
fn blob2(data: &[u8]) -> Option<Described> {
    let ([length], rest) = data.split_first_chunk()?;
    let (description, rest) = rest.split_at_checked(usize::from(*length))?;
    let name = text(description)?;
    Some(match blob(rest) {
        Some(place) => Described { text: format!("{name}: {}", place.text), name },
        None => Described { text: name.clone(), name },
    })
}

/// `UEFI_PLATFORM_FIRMWARE_BLOB`: address, length.
fn blob(data: &[u8]) -> Option<Described> {
    let (base, rest) = quad(data)?;
    let (length, rest) = quad(rest)?;
    if !rest.is_empty() {
        return None;
    }
    let text = format!("{length} bytes at {base:#x}");
    Some(Described { name: text.clone(), text })
}

fn tagged(data: &[u8]) -> Option<Described> {
    let tagged = Tagged::parse(data)?;
    let name = text(tagged.name)?;
    Some(pair(&name, &value(tagged.body)))
}

/// GRUB's labels (manual of GRUB 2.12, section "Measuring boot components"; the two without a colon are those of older
/// builds by distributions). The digest of such an event is over the text behind the label.
const LOADER_LABELS: [&str; 5] =
    ["grub_cmd: ", "kernel_cmdline: ", "module_cmdline: ", "grub_kernel_cmdline ", "grub_cmd "];

/// The label and the text of what a boot loader did.
pub(super) fn loader_text(data: &[u8]) -> Option<(&'static str, &[u8])> {
    LOADER_LABELS.into_iter().find_map(|label| {
        let text = data.strip_prefix(label.as_bytes())?;
        Some((label.trim_end_matches([':', ' ']), text))
    })
}

fn loader(data: &[u8]) -> Option<Described> {
    match loader_text(data) {
        Some((label, line)) => text(line).map(|line| pair(label, &line)),
        None => plain(data),
    }
}

/// `TCG_PCClientTaggedEvent`: id, bytes, data.
fn event_tag(data: &[u8]) -> Option<Described> {
    let (id, rest) = long(data)?;
    let (length, rest) = long(rest)?;
    let name = text(rest.get(..length)?)?;
    Some(Described { text: format!("{name} ({id:#x})"), name })
}

/// `UEFI_GPT_DATA`: the table's header (92 bytes), number of partitions, partitions.
fn gpt(data: &[u8]) -> Option<Described> {
    let (header, rest) = data.split_at_checked(92)?;
    let (partitions, _) = quad(rest)?;
    header.starts_with(b"EFI PART").then(|| pair("partition table", &format!("{partitions} partitions")))
}
