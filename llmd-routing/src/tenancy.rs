//! Whose a name is. What the scheduler remembers under names that clients choose, it remembers for each tenant, and for each
//! salt of a tenant, by itself: nobody finds out by asking what others asked.

use std::borrow::Cow;

use llmd_core::hash::Namespace;
use xxhash_rust::xxh3::Xxh3;

use crate::Request;

/// A name that the client of a request chose, as it is remembered: digested, so that a long one takes no more room than a
/// short one.
pub(crate) fn digest(request: &Request, name: &str) -> u128 {
    let mut hasher = Xxh3::new();
    for part in [request.tenant.as_deref(), salt(request), Some(name)] {
        // Lengths stand before what they measure, so that no two lists of parts are the same bytes.
        hasher.update(&part.map_or(0, |part| part.len() as u64 + 1).to_le_bytes());
        hasher.update(part.unwrap_or_default().as_bytes());
    }
    hasher.digest128()
}

/// What a request's prompt is remembered under: its namespace, in whose salt the tenant is.
///
/// This is for what the scheduler remembers by itself. What engines hold is kept apart by their salt alone.
pub(crate) fn namespace(request: &Request) -> Cow<'_, Namespace> {
    let namespace = &request.namespace;
    let salt = salt(request);
    let folded = match &request.tenant {
        None if salt.is_none() => return Cow::Borrowed(namespace),
        // The sign says which of the two it is, and the length where the tenant ends.
        None => format!("-{}", salt.unwrap_or_default()),
        Some(tenant) => format!("{}:{tenant}{}", tenant.len(), salt.unwrap_or_default()),
    };
    Cow::Owned(namespace.clone().with_cache_salt(folded))
}

/// The salt; an empty one is none.
fn salt(request: &Request) -> Option<&str> {
    request.namespace.cache_salt.as_deref().filter(|salt| !salt.is_empty())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Tenants and salts that would be confused if they were only put one after the other.
    fn requests() -> Vec<Request> {
        let tenants = [None, Some(""), Some("a"), Some("ab"), Some("1:a"), Some("-")];
        let salts = [None, Some("a"), Some("b"), Some("1:a"), Some("0:"), Some("0:1:a"), Some("-a"), Some("3:1:a")];
        let of = |tenant: Option<&str>, salt: Option<&str>| {
            let mut request = Request::new("r", "m");
            request.tenant = tenant.map(str::to_owned);
            request.namespace.cache_salt = salt.map(str::to_owned);
            request
        };
        tenants.into_iter().flat_map(|tenant| salts.map(|salt| of(tenant, salt))).collect()
    }

    #[test]
    fn no_two_tenants_or_salts_share_a_namespace_or_a_name() {
        let requests = requests();
        let salts: BTreeSet<_> = requests.iter().map(|request| namespace(request).cache_salt.clone()).collect();
        let names: BTreeSet<_> = requests.iter().map(|request| digest(request, "session")).collect();
        assert_eq!((salts.len(), names.len()), (requests.len(), requests.len()));
    }

    #[test]
    fn without_tenant_and_salt_the_namespace_is_the_request_s_own() {
        let mut request = Request::new("r", "m");
        request.namespace.cache_salt = Some(String::new());
        assert!(matches!(namespace(&request), Cow::Borrowed(_)));
        assert_eq!(digest(&request, "session"), digest(&Request::new("other", "m"), "session"));
    }

    #[test]
    fn a_name_does_not_run_into_the_salt() {
        let salted = |salt: &str| {
            let mut request = Request::new("r", "m");
            request.namespace.cache_salt = Some(salt.to_owned());
            request
        };
        assert_ne!(digest(&salted("ab"), "c"), digest(&salted("a"), "bc"));
    }
}
