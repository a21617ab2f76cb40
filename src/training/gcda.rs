//! Files of counters as gcc 12 and later write them (gcc/gcov-io.h: "The basic format of the files").

/// What was counted of one function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Function {
    /// Number that the compiler makes of its name.
    pub ident: u32,
    /// Checksum of its flow graph: counts fit only a function of the same.
    pub shape: u32,
    /// Sum of its counters of edges.
    pub count: u64,
}

/// "gcda", read as a little-endian number.
const MAGIC: u32 = 0x6763_6461;
/// From 12 on a length is in bytes and the head has a checksum. Versions are letters and digits: B22* is 12.2.
const SINCE: u32 = u32::from_be_bytes(*b"B20 ");

const FUNCTION: u32 = 0x0100_0000;
const EDGES: u32 = 0x01a1_0000;

/// Reads the functions of a .gcda file.
///
/// # Errors
/// What is wrong with it, to be said after its name.
pub fn functions(bytes: &[u8]) -> Result<Vec<Function>, &'static str> {
    let mut words = bytes.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word));
    if words.next() != Some(MAGIC) {
        return Err("is not a file of counters");
    }
    if words.next().is_none_or(|version| version < SINCE) {
        return Err("was written by a gcc older than 12");
    }
    // A stamp and a checksum.
    let mut at = 16;
    let mut found: Vec<Function> = Vec::new();
    while let Some(tag) = word(bytes, at) {
        if tag == 0 {
            break;
        }
        let Some(length) = word(bytes, at + 4) else { return Err("ends within a record") };
        at += 8;
        // A negative length stands for that many bytes of zeros, which are not there.
        let length = length.cast_signed();
        let Ok(length) = usize::try_from(length) else { continue };
        let Some(record) = at.checked_add(length).and_then(|end| bytes.get(at..end)) else {
            return Err("ends within a record");
        };
        at += length;
        match (tag, found.last_mut()) {
            (FUNCTION, _) => {
                if let (Some(ident), Some(shape)) = (word(record, 0), word(record, 8)) {
                    found.push(Function { ident, shape, count: 0 });
                }
            }
            (EDGES, Some(function)) => {
                let counts = record.as_chunks::<8>().0.iter().map(|count| u64::from_le_bytes(*count));
                function.count = counts.fold(function.count, u64::saturating_add);
            }
            _ => {}
        }
    }
    Ok(found)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk::<4>().map(|word| u32::from_le_bytes(*word))
}
