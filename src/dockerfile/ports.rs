//! Ports of `EXPOSE`: `[IP:[HOST:]]PORT[-PORT][/PROTOCOL]` (`convert_expose.go`).

use super::error::Fault;

/// Returns `80/tcp` for each port of a range; addresses and host ports mean nothing.
pub(super) fn ports(text: &str) -> Result<Vec<String>, Fault> {
    let wrong = |reason: &str| Fault::new(format!("invalid port `{text}`: {reason}")).about(text);
    let port = text.rsplit(':').next().unwrap_or(text);
    let (range, protocol) = port.split_once('/').unwrap_or((port, ""));
    let protocol = match protocol.to_lowercase().as_str() {
        "" => "tcp".to_owned(),
        known @ ("tcp" | "udp" | "sctp") => known.to_owned(),
        _ => return Err(wrong("the protocol is none of tcp, udp, sctp")),
    };
    let number = |text: &str| text.parse::<u16>().map_err(|_| wrong("a port is a number up to 65535"));
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let (first, last) = (number(first)?, number(last)?);
    if last < first {
        return Err(wrong("the range ends before it begins"));
    }
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_ranges_with_a_protocol() {
        assert_eq!(ports("80").expect("valid"), ["80/tcp"]);
        assert_eq!(ports("127.0.0.1:80:8000-8002/UDP").expect("valid"), ["8000/udp", "8001/udp", "8002/udp"]);
        for wrong in ["", "x", "80/icmp", "9-8", "70000"] {
            assert!(ports(wrong).is_err(), "{wrong}");
        }
    }
}
