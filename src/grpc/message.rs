//! Messages in a body: a flag, a length, the bytes.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use prost::Message;

use super::status::{Code, Status};

/// Bytes of the largest message that is taken: what BuildKit's own client takes.
pub const LARGEST: usize = 16 << 20;

/// Bytes before each message.
const HEAD: usize = 5;

/// Returns a message as it stands in a body.
pub(super) fn framed(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut bytes = BytesMut::with_capacity(HEAD + length);
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(length).expect("messages are far below 4 GiB"));
    message.encode(&mut bytes).expect("room was made");
    bytes.freeze()
}

/// Takes the first whole message from `buffer`; `None` where more bytes are needed.
pub(super) fn unframed<M: Message + Default>(buffer: &mut BytesMut) -> Result<Option<M>, Status> {
    let Some((head, rest)) = buffer.split_at_checked(HEAD) else { return Ok(None) };
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
    if head[0] != 0 {
        return Err(Status::new(Code::Unimplemented, "a compressed message, which was not asked for"));
    }
    if length > LARGEST {
        let message = format!("a message of {length} bytes, more than the {LARGEST} that are taken");
        return Err(Status::new(Code::ResourceExhausted, message));
    }
    if rest.len() < length {
        return Ok(None);
    }
    buffer.advance(HEAD);
    let bytes = buffer.split_to(length).freeze();
    let wrong = |error| Status::new(Code::Internal, format!("a message that is none: {error}"));
    M::decode(bytes).map(Some).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_whole_however_they_are_cut() {
        let text = "x".repeat(300);
        let framed = framed(&text);
        let mut buffer = BytesMut::new();
        for (at, byte) in framed.iter().enumerate() {
            assert_eq!(unframed::<String>(&mut buffer), Ok(None), "{at}");
            buffer.put_u8(*byte);
        }
        assert_eq!(unframed(&mut buffer), Ok(Some(text)));
        assert!(buffer.is_empty());
    }

    #[test]
    fn a_length_that_nobody_would_send_allocates_nothing() {
        let mut buffer = BytesMut::from(&[0, 0xff, 0xff, 0xff, 0xff, 0][..]);
        assert_eq!(unframed::<String>(&mut buffer).map_err(|status| status.code), Err(Code::ResourceExhausted));
        let mut buffer = BytesMut::from(&[1, 0, 0, 0, 0][..]);
        assert_eq!(unframed::<String>(&mut buffer).map_err(|status| status.code), Err(Code::Unimplemented));
    }
}
