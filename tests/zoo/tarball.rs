//! Archives header by header, also wrong ones.

use std::io::Write as _;

/// An archive in the making.
#[derive(Default)]
pub(super) struct Tarball(pub(super) Vec<u8>);

/// One header with everything that can be wrong about it.
pub(super) struct Head<'a> {
    pub(super) kind: u8,
    pub(super) name: &'a [u8],
    pub(super) link: &'a [u8],
    pub(super) mode: &'a [u8],
    pub(super) size: Vec<u8>,
    pub(super) device: (u32, u32),
}

impl Default for Head<'_> {
    fn default() -> Self {
        Self { kind: b'0', name: b"", link: b"", mode: b"0000644\0", size: octal(0), device: (0, 0) }
    }
}

pub(super) fn octal(size: u64) -> Vec<u8> {
    format!("{size:011o}\0").into_bytes()
}

/// A number as GNU writes those that eleven octal digits do not hold.
pub(super) fn binary(number: i128) -> Vec<u8> {
    let mut bytes = number.to_be_bytes()[4..].to_vec();
    bytes[0] = if number < 0 { 0xff } else { 0x80 };
    bytes
}

impl Tarball {
    pub(super) fn head(mut self, head: &Head<'_>) -> Self {
        let mut block = [0; 512];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, head.name);
        put(100, head.mode);
        put(108, format!("{:07o}\0", rustix::process::getuid().as_raw()).as_bytes());
        put(116, format!("{:07o}\0", rustix::process::getgid().as_raw()).as_bytes());
        put(124, &head.size);
        put(136, b"00000000001\0");
        put(148, b"        ");
        put(156, &[head.kind]);
        put(157, head.link);
        put(257, b"ustar\x0000");
        put(329, format!("{:07o}\0", head.device.0).as_bytes());
        put(337, format!("{:07o}\0", head.device.1).as_bytes());
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend_from_slice(&block);
        self
    }

    pub(super) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn entry(self, kind: u8, name: &[u8], link: &str, content: &[u8]) -> Self {
        let mode: &[u8] = if kind == b'5' { b"0000755\0" } else { b"0000644\0" };
        let size = octal(content.len() as u64);
        self.head(&Head { kind, name, link: link.as_bytes(), mode, size, ..Head::default() }).bytes(content)
    }

    pub(super) fn file(self, name: &str, content: &str) -> Self {
        self.entry(b'0', name.as_bytes(), "", content.as_bytes())
    }

    pub(super) fn raw(self, name: &[u8], content: &[u8]) -> Self {
        self.entry(b'0', name, "", content)
    }

    pub(super) fn directory(self, name: &str) -> Self {
        self.entry(b'5', name.as_bytes(), "", b"")
    }

    pub(super) fn symlink(self, name: &str, target: &str) -> Self {
        self.entry(b'2', name.as_bytes(), target, b"")
    }

    pub(super) fn hard_link(self, name: &str, target: &str) -> Self {
        self.entry(b'1', name.as_bytes(), target, b"")
    }

    pub(super) fn node(self, kind: u8, name: &str, device: (u32, u32)) -> Self {
        self.head(&Head { kind, name: name.as_bytes(), device, ..Head::default() })
    }

    /// A PAX header with these records; `x` for the next entry, `g` for all.
    pub(super) fn pax(self, kind: u8, records: &[(&str, &[u8])]) -> Self {
        let content: Vec<u8> = records.iter().flat_map(|(key, value)| record(key, value)).collect();
        self.entry(kind, b"pax", "", &content)
    }

    pub(super) fn long_name(self, name: &str) -> Self {
        self.entry(b'L', b"././@LongLink", "", name.as_bytes())
    }

    pub(super) fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }
}

fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = [b" ", key.as_bytes(), b"=", value, b"\n"].concat();
    let length =
        (rest.len()..rest.len() + 9).find(|length| length.to_string().len() + rest.len() == *length).expect("a length");
    [length.to_string().as_bytes(), &rest].concat()
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

pub(super) fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).expect("memory")
}
