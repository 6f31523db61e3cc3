//! Tar archives for tests, honest and otherwise.

/// An archive in the making.
#[derive(Clone, Default)]
pub(crate) struct Tar(pub(crate) Vec<u8>);

impl Tar {
    /// One entry as it is to stand there.
    pub(crate) fn raw(mut self, name: &str, kind: u8, link: &str, size: u64, content: &[u8]) -> Self {
        let mut header = [0_u8; 512];
        header[..name.len().min(100)].copy_from_slice(&name.as_bytes()[..name.len().min(100)]);
        header[100..107].copy_from_slice(b"0000644");
        header[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
        header[156] = kind;
        header[157..157 + link.len().min(100)].copy_from_slice(&link.as_bytes()[..link.len().min(100)]);
        header[257..265].copy_from_slice(b"ustar\x0000");
        self.header(header);
        self.0.extend_from_slice(content);
        self.pad();
        self
    }

    /// A header with the right checksum.
    pub(crate) fn header(&mut self, mut header: [u8; 512]) {
        header[148..156].copy_from_slice(b"        ");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend_from_slice(&header);
    }

    fn pad(&mut self) {
        let padding = (512 - self.0.len() % 512) % 512;
        self.0.resize(self.0.len() + padding, 0);
    }

    pub(crate) fn file(self, name: &str, content: &str) -> Self {
        self.raw(name, b'0', "", content.len() as u64, content.as_bytes())
    }

    pub(crate) fn dir(self, name: &str) -> Self {
        self.raw(name, b'5', "", 0, b"")
    }

    pub(crate) fn link(self, name: &str, target: &str) -> Self {
        self.raw(name, b'2', target, 0, b"")
    }

    pub(crate) fn hard(self, name: &str, target: &str) -> Self {
        self.raw(name, b'1', target, 0, b"")
    }

    /// A PAX header with one record for the entry that follows.
    pub(crate) fn pax(self, name: &str, value: &str) -> Self {
        let rest = format!(" {name}={value}\n");
        let mut length = rest.len() + 1;
        while length != rest.len() + length.to_string().len() {
            length = rest.len() + length.to_string().len();
        }
        let record = format!("{length}{rest}");
        self.raw("pax", b'x', "", record.len() as u64, record.as_bytes())
    }

    /// A GNU long name (`L`) or long link (`K`) for the entry that follows.
    pub(crate) fn long(self, kind: u8, name: &str) -> Self {
        let name = format!("{name}\0");
        self.raw("././@LongLink", kind, "", name.len() as u64, name.as_bytes())
    }

    /// The archive with its end.
    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}
