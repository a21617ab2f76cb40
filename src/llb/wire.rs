//! Bounds on what a definition may cost, checked on its bytes before they become values.
//!
//! A field of two bytes can become a value of some hundred, so the size of a file bounds nothing. Counting fields does:
//! [`FIELDS`] of them stay below 300 MiB whatever they are. Each length-delimited field is tried as a message, as only the
//! schema knows; text that happens to parse is counted too much, which the distance to real graphs forgives.

use super::error::GraphError;

/// Bytes of a definition. BuildKit's server takes at most 16 MiB in one message, so no real one is larger.
pub const LARGEST: usize = 64 << 20;
/// Ops of a definition. A large monorepo has some thousands.
pub(super) const OPS: usize = 1 << 16;
/// Fields of a definition at all depths. An op of a Dockerfile has about fifty.
const FIELDS: usize = 1 << 20;
/// Levels of messages that are looked into: as many as the decoder goes into. Every step takes a field, so depth is free.
const DEPTH: usize = 100;

/// Refuses bytes that would become more than a real graph ever is.
pub(super) fn check(bytes: &[u8]) -> Result<(), GraphError> {
    if bytes.len() > LARGEST {
        return Err(GraphError::TooLarge { what: "bytes", limit: LARGEST });
    }
    let mut left = FIELDS;
    match count(bytes, DEPTH, &mut left) {
        Some(false) => Err(GraphError::TooLarge { what: "fields", limit: FIELDS }),
        // Bytes that are no message are refused by the decoder, in its words; it stops at the same place.
        Some(true) | None => Ok(()),
    }
}

/// Takes the fields of a message from `left`: `None` when the bytes are no message, `Some(false)` when none is left.
fn count(mut bytes: &[u8], depth: usize, left: &mut usize) -> Option<bool> {
    while !bytes.is_empty() {
        let Some(rest) = left.checked_sub(1) else { return Some(false) };
        *left = rest;
        let key = varint(&mut bytes)?;
        match key & 7 {
            0 => _ = varint(&mut bytes)?,
            1 => bytes = bytes.get(8..)?,
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                let (inner, rest) = bytes.split_at_checked(length)?;
                bytes = rest;
                if depth > 0 && count(inner, depth - 1, left) == Some(false) {
                    return Some(false);
                }
            }
            3 | 4 => {}
            5 => bytes = bytes.get(4..)?,
            _ => return None,
        }
        if key >> 3 == 0 {
            return None;
        }
    }
    Some(true)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..70).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_small_fields_are_refused_before_they_are_decoded() {
        // Two bytes each on the wire, an empty `def` entry of 24 bytes in memory.
        assert!(matches!(check(&[0x0a, 0x00].repeat(FIELDS + 1)), Err(GraphError::TooLarge { what: "fields", .. })));
        assert_eq!(check(&[0x0a, 0x00].repeat(1000)), Ok(()));
    }

    #[test]
    fn fields_within_fields_are_counted() {
        let mut mounts = vec![0x0a];
        let inner = [0x12, 0x00].repeat(FIELDS);
        prost::encoding::encode_varint(inner.len() as u64, &mut mounts);
        mounts.extend(inner);
        assert!(check(&mounts).is_err());
    }
}
