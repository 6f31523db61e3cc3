//! Event logs of TDX guests with any events, and what a quote would report for them. Each part can be wrong on its own.
//!
//! Format: TCG PC Client Platform Firmware Profile 1.06, section 10.

use aws_lc_rs::digest::{SHA384, digest};

/// Kinds of events, by number.
pub mod kind {
    /// For information; never measured.
    pub const NO_ACTION: u32 = 3;
    /// A separator.
    pub const SEPARATOR: u32 = 4;
    /// A tagged event of the Linux EFI stub.
    pub const EVENT_TAG: u32 = 6;
    /// The firmware's version.
    pub const S_CRTM_VERSION: u32 = 8;
    /// Configuration of the platform.
    pub const PLATFORM_CONFIG_FLAGS: u32 = 0xa;
    /// The boot loader.
    pub const IPL: u32 = 0xd;
    /// A Secure Boot variable.
    pub const VARIABLE_DRIVER_CONFIG: u32 = 0x8000_0001;
    /// A boot variable.
    pub const VARIABLE_BOOT: u32 = 0x8000_0002;
    /// A UEFI application.
    pub const BOOT_SERVICES_APPLICATION: u32 = 0x8000_0003;
    /// The partition table.
    pub const GPT: u32 = 0x8000_0006;
    /// A text.
    pub const ACTION: u32 = 0x8000_0007;
    /// Firmware, by address.
    pub const FIRMWARE_BLOB2: u32 = 0x8000_000a;
    /// Tables, by address.
    pub const HANDOFF_TABLES2: u32 = 0x8000_000b;
    /// A Secure Boot certificate.
    pub const VARIABLE_AUTHORITY: u32 = 0x8000_00e0;
}

/// An event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// CC measurement register: 0 for MRTD, 1 to 4 for RTMR0 to 3.
    pub register: u32,
    /// One of [`kind`], or not.
    pub kind: u32,
    /// Its SHA-384 digest.
    pub digest: [u8; 48],
    /// Its data.
    pub data: Vec<u8>,
}

impl Event {
    /// An event whose digest is over its data.
    pub fn new(register: u32, kind: u32, data: &[u8]) -> Self {
        Self::of(register, kind, data, data)
    }

    /// An event whose digest is over something else.
    pub fn of(register: u32, kind: u32, data: &[u8], measured: &[u8]) -> Self {
        Self { register, kind, digest: sha384(measured), data: data.to_vec() }
    }

    /// A separator.
    pub fn separator(register: u32) -> Self {
        Self::new(register, kind::SEPARATOR, &[0; 4])
    }

    /// A variable; a boot variable is measured by its value alone, as edk2 does.
    pub fn variable(register: u32, kind: u32, name: &str, value: &[u8]) -> Self {
        let data = variable(name, value);
        let measured = if kind == kind::VARIABLE_BOOT { value } else { &data };
        Self::of(register, kind, &data, measured)
    }

    /// A text of GRUB: `label: text` with a zero behind, measured without either.
    pub fn grub(register: u32, label: &str, text: &str) -> Self {
        Self::of(register, kind::IPL, format!("{label}: {text}\0").as_bytes(), text.as_bytes())
    }

    /// An event of td-shim: a name, a length, and what is measured.
    pub fn td_shim(register: u32, name: &str, body: &[u8]) -> Self {
        let mut data = name.as_bytes().to_vec();
        data.resize(16, 0);
        data.extend_from_slice(&long(body.len()));
        data.extend_from_slice(body);
        Self::of(register, kind::PLATFORM_CONFIG_FLAGS, &data, body)
    }

    /// A UEFI image, loaded from a file.
    pub fn image(register: u32, path: &str, image: &[u8]) -> Self {
        let file = utf16(&format!("{path}\0"));
        let length = u16::try_from(file.len() + 4).expect("a short path");
        let nodes = [
            &[2, 1, 12, 0, 0xd0, 0x41, 3, 0x0a, 0, 0, 0, 0, 4, 4],
            length.to_le_bytes().as_slice(),
            &file,
            &[0x7f, 0xff, 4, 0],
        ]
        .concat();
        let mut data = Vec::new();
        for word in [0x7e00_0000, image.len() as u64, 0, nodes.len() as u64] {
            data.extend_from_slice(&word.to_le_bytes());
        }
        data.extend_from_slice(&nodes);
        Self::of(register, kind::BOOT_SERVICES_APPLICATION, &data, image)
    }

    /// What the Linux EFI stub logs: an id, and what it is called.
    pub fn tagged(register: u32, id: u32, name: &str, measured: &[u8]) -> Self {
        let name = utf16(&format!("{name}\0"));
        let data = [id.to_le_bytes().as_slice(), &long(name.len()), &name].concat();
        Self::of(register, kind::EVENT_TAG, &data, measured)
    }

    /// Whether it changes its register.
    fn is_measured(&self) -> bool {
        self.kind != kind::NO_ACTION && (1..=4).contains(&self.register)
    }
}

/// What follows the last event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Padding {
    /// Nothing.
    None,
    /// Zeros, as td-shim has them.
    Zeros(usize),
    /// `0xff`, as OVMF has them.
    Ones(usize),
}

/// A log to be written. [`Log::new`] is one that every reader accepts; each field can be changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Log {
    /// Register of the first event.
    pub spec_register: u32,
    /// Kind of the first event.
    pub spec_kind: u32,
    /// Signature of the Spec ID.
    pub spec_signature: [u8; 16],
    /// Minor version, major version, errata, size of an integer.
    pub spec_version: [u8; 4],
    /// Algorithms, each with the bytes of its digests. SHA-384 is 12.
    pub algorithms: Vec<(u16, u16)>,
    /// How many algorithms the Spec ID claims, if that is to be wrong.
    pub algorithm_count: Option<u32>,
    /// What the vendor put there.
    pub vendor: Vec<u8>,
    /// Bytes behind the end of the Spec ID.
    pub spec_rest: Vec<u8>,
    /// The events.
    pub events: Vec<Event>,
    /// What follows the last event.
    pub padding: Padding,
}

impl Log {
    /// A log of these events, with SHA-384 digests, with nothing behind.
    pub fn new(events: Vec<Event>) -> Self {
        Self {
            spec_register: 0,
            spec_kind: kind::NO_ACTION,
            spec_signature: *b"Spec ID Event03\0",
            spec_version: [0, 2, 105, 2],
            algorithms: vec![(12, 48)],
            algorithm_count: None,
            vendor: b"testkit".to_vec(),
            spec_rest: Vec::new(),
            events,
            padding: Padding::None,
        }
    }

    /// A boot as OVMF, a boot loader and Linux log it: two dozen events of every form, in RTMR0 to 2.
    pub fn boot() -> Self {
        let firmware = [b"\x0dBFV: OVMF.fd\0".as_slice(), &[0; 16]].concat();
        let tables = [b"\x09TdxTable\0".as_slice(), &[0; 32]].concat();
        let mut gpt = b"EFI PART".to_vec();
        gpt.resize(92, 7);
        gpt.extend_from_slice(&2_u64.to_le_bytes());
        gpt.resize(92 + 8 + 256, 9);
        let mut events = vec![
            Event::of(0, kind::NO_ACTION, b"StartupLocality\0\x03", &[]),
            Event::of(1, kind::HANDOFF_TABLES2, &tables, b"the TD's HOB list"),
            Event::of(1, kind::FIRMWARE_BLOB2, &firmware, b"the firmware's variables"),
            Event::new(1, kind::S_CRTM_VERSION, &utf16("edk2-stable\0")),
        ];
        for (name, value) in [
            ("SecureBoot", [1].as_slice()),
            ("PK", &[3; 900]),
            ("KEK", &[4; 900]),
            ("db", &[5; 1800]),
            ("dbx", &[6; 64]),
        ] {
            events.push(Event::variable(1, kind::VARIABLE_DRIVER_CONFIG, name, value));
        }
        events.push(Event::separator(1));
        events.push(Event::of(1, kind::PLATFORM_CONFIG_FLAGS, b"ACPI DATA", b"the tables that QEMU passes"));
        events.push(Event::variable(1, kind::VARIABLE_BOOT, "BootOrder", &[0, 0, 1, 0]));
        let option = [&[1, 0, 0, 0, 4, 0], utf16("UEFI Disk\0").as_slice(), &[0x7f, 0xff, 4, 0]].concat();
        events.push(Event::variable(1, kind::VARIABLE_BOOT, "Boot0000", &option));
        events.push(Event::new(2, kind::ACTION, b"Calling EFI Application from Boot Option"));
        events.push(Event::variable(1, kind::VARIABLE_AUTHORITY, "db", &[5; 900]));
        events.push(Event::separator(2));
        events.push(Event::new(2, kind::GPT, &gpt));
        events.push(Event::image(2, r"\EFI\BOOT\BOOTX64.EFI", b"a boot loader"));
        events.push(Event::grub(3, "grub_cmd", "linux /vmlinuz root=/dev/vda1"));
        events.push(Event::of(3, kind::IPL, b"/vmlinuz\0", b"a kernel"));
        events.push(Event::grub(3, "kernel_cmdline", "/vmlinuz root=/dev/vda1 console=hvc0"));
        events.push(Event::tagged(3, 0x8f3b_22ec, "Linux initrd", b"an initrd"));
        events.push(Event::new(2, kind::ACTION, b"Exit Boot Services Invocation"));
        events.push(Event::new(2, kind::ACTION, b"Exit Boot Services Returned with Success"));
        Self { padding: Padding::Ones(512), ..Self::new(events) }
    }

    /// The log's bytes.
    ///
    /// # Panics
    /// When something is longer than its length field can say.
    pub fn build(&self) -> Vec<u8> {
        let mut spec = self.spec_signature.to_vec();
        spec.extend_from_slice(&[0; 4]);
        spec.extend_from_slice(&self.spec_version);
        spec.extend_from_slice(&self.algorithm_count.map_or(long(self.algorithms.len()), u32::to_le_bytes));
        for (algorithm, size) in &self.algorithms {
            spec.extend_from_slice(&algorithm.to_le_bytes());
            spec.extend_from_slice(&size.to_le_bytes());
        }
        spec.push(u8::try_from(self.vendor.len()).expect("short"));
        spec.extend_from_slice(&self.vendor);
        spec.extend_from_slice(&self.spec_rest);

        let mut log = self.spec_register.to_le_bytes().to_vec();
        log.extend_from_slice(&self.spec_kind.to_le_bytes());
        log.extend_from_slice(&[0; 20]);
        log.extend_from_slice(&long(spec.len()));
        log.extend_from_slice(&spec);
        for event in &self.events {
            log.extend_from_slice(&self.event(event));
        }
        match self.padding {
            Padding::None => {}
            Padding::Zeros(count) => log.resize(log.len() + count, 0),
            Padding::Ones(count) => log.resize(log.len() + count, 0xff),
        }
        log
    }

    /// One event's bytes. Digests of other algorithms than SHA-384 are made up.
    pub fn event(&self, event: &Event) -> Vec<u8> {
        let mut bytes = event.register.to_le_bytes().to_vec();
        bytes.extend_from_slice(&event.kind.to_le_bytes());
        bytes.extend_from_slice(&long(self.algorithms.len()));
        for (algorithm, size) in &self.algorithms {
            bytes.extend_from_slice(&algorithm.to_le_bytes());
            if (*algorithm, *size) == (12, 48) {
                bytes.extend_from_slice(&event.digest);
            } else {
                bytes.resize(bytes.len() + usize::from(*size), 0x5a);
            }
        }
        bytes.extend_from_slice(&long(event.data.len()));
        bytes.extend_from_slice(&event.data);
        bytes
    }

    /// What RTMR0 to 3 hold after these events.
    pub fn registers(&self) -> [[u8; 48]; 4] {
        let mut registers = [[0; 48]; 4];
        for event in self.events.iter().filter(|event| event.is_measured()) {
            let register = &mut registers[event.register as usize - 1];
            *register = sha384(&[register.as_slice(), &event.digest].concat());
        }
        registers
    }
}

/// `UEFI_VARIABLE_DATA` of a variable.
pub fn variable(name: &str, value: &[u8]) -> Vec<u8> {
    let mut data = b"\x61\xdf\xe4\x8b\xca\x93\xd2\x11\xaa\x0d\x00\xe0\x98\x03\x2b\x8c".to_vec();
    data.extend_from_slice(&(name.len() as u64).to_le_bytes());
    data.extend_from_slice(&(value.len() as u64).to_le_bytes());
    data.extend_from_slice(&utf16(name));
    data.extend_from_slice(value);
    data
}

/// SHA-384.
pub fn sha384(bytes: &[u8]) -> [u8; 48] {
    digest(&SHA384, bytes).as_ref().try_into().expect("48 bytes")
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn long(value: usize) -> [u8; 4] {
    u32::try_from(value).expect("less than 4 GiB").to_le_bytes()
}
