//! Where an endpoint is, taken apart.

use std::fmt;

/// A host and a port, as routers say them: `10.0.0.1:8000`, `[::1]:8000`, `http://host:8000`, `host`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Address<'a> {
    /// Without brackets.
    pub(super) host: &'a str,
    pub(super) port: Option<u16>,
}

impl<'a> Address<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        let text = text.split_once("://").map_or(text, |(_, rest)| rest);
        let text = text.split_once('/').map_or(text, |(authority, _)| authority);
        let (host, port) = match text.rsplit_once(':') {
            // An IPv6 address without brackets has no port.
            Some((host, _)) if host.contains(':') && !host.ends_with(']') => (text, None),
            Some((host, port)) => (host, port.parse().ok()),
            None => (text, None),
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        Self { host: bare.unwrap_or(host), port }
    }

    /// The same host, at this port.
    pub(super) const fn at(self, port: u16) -> Self {
        Self { port: Some(port), ..self }
    }
}

/// As in a URL.
impl fmt::Display for Address<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        let (open, close) = if host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{open}{host}{close}")?;
        port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        let table = [
            ("10.0.0.1:8000", "10.0.0.1", Some(8000), "10.0.0.1:8000"),
            ("http://host:8000/v1", "host", Some(8000), "host:8000"),
            ("[fd00::1]:8000", "fd00::1", Some(8000), "[fd00::1]:8000"),
            ("fd00::1", "fd00::1", None, "[fd00::1]"),
            ("[fd00::1]", "fd00::1", None, "[fd00::1]"),
            ("host", "host", None, "host"),
            ("host:http", "host", None, "host"),
            ("", "", None, ""),
        ];
        for (text, host, port, shown) in table {
            let address = Address::of(text);
            assert_eq!((address.host, address.port, address.to_string().as_str()), (host, port, shown), "{text}");
        }
    }

    #[test]
    fn addresses_are_the_same_however_they_are_written() {
        assert_eq!(Address::of("http://[fd00::1]:8000"), Address::of("[fd00::1]:8000"));
        assert_eq!(Address::of("https://host:8000/"), Address::of("host:8000"));
        assert_ne!(Address::of("host:8001"), Address::of("host:8000"));
    }
}
