//! Endpoint names in base64 (RFC 4648 §4, with padding), as llm-d's session token.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The token of the endpoint of this name.
pub(super) fn encode(name: &str) -> String {
    digits(name).map(char::from).collect()
}

/// Whether `token` is that of the endpoint of this name.
pub(super) fn names(token: &str, name: &str) -> bool {
    token.len() == name.len().div_ceil(3) * 4 && digits(name).eq(token.bytes())
}

fn digits(name: &str) -> impl Iterator<Item = u8> {
    name.as_bytes().chunks(3).flat_map(|bytes| {
        let group = bytes.iter().fold(0_u32, |group, &byte| group << 8 | u32::from(byte)) << (8 * (3 - bytes.len()));
        let digit = move |place: usize| {
            if place > bytes.len() { b'=' } else { ALPHABET[(group >> (18 - 6 * place) & 63) as usize] }
        };
        (0..4).map(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The test vectors of RFC 4648 §10.
    const VECTORS: [(&str, &str); 7] = [
        ("", ""),
        ("f", "Zg=="),
        ("fo", "Zm8="),
        ("foo", "Zm9v"),
        ("foob", "Zm9vYg=="),
        ("fooba", "Zm9vYmE="),
        ("foobar", "Zm9vYmFy"),
    ];

    #[test]
    fn a_token_is_the_name_in_base64() {
        for (name, token) in VECTORS {
            assert_eq!(encode(name), token);
            assert!(names(token, name), "{name}");
        }
        assert_eq!(encode("default/vllm-0"), "ZGVmYXVsdC92bGxtLTA=");
    }

    #[test]
    fn a_token_names_nobody_else() {
        assert!(!names("Zm9v", "fob"));
        assert!(!names("Zm9vYg==", "foo"));
        assert!(!names("Zg", "f"));
        assert!(!names("", "f"));
    }
}
