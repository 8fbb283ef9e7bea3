//! Bearer keys, known by their SHA-256 alone.

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{Principal, Role};

/// A key that may call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// The key's name, for the log.
    pub name: String,
    /// SHA-256 of the key.
    sha256: [u8; 32],
    /// Whom it stands for.
    pub principal: Principal,
}

/// Reads `libra.auth.keys`.
///
/// # Errors
/// A message that names the entry and the field.
pub fn keys_from(list: &Value) -> Result<Vec<ApiKey>, String> {
    let Value::Array(items) = list else {
        return Err("libra.auth.keys must be a list of {name, sha256, role, user, tenant}".into());
    };
    items.iter().enumerate().map(|(i, item)| one(i, item)).collect()
}

fn one(index: usize, item: &Value) -> Result<ApiKey, String> {
    const FIELDS: [&str; 5] = ["name", "sha256", "role", "user", "tenant"];
    let at = format!("libra.auth.keys[{index}]");
    let map = item.as_object().ok_or_else(|| format!("{at} must be {{name, sha256, role, user, tenant}}"))?;
    if let Some(odd) = map.keys().find(|k| !FIELDS.contains(&k.as_str())) {
        return Err(format!("{at}.{odd} is not a known field"));
    }
    let text = |field: &str| map.get(field).and_then(Value::as_str).filter(|t| !t.is_empty());
    let must = |field: &str| text(field).ok_or_else(|| format!("{at}.{field} is missing or no text"));
    let name = must("name")?.to_owned();
    let sha256 = unhex(must("sha256")?)
        .ok_or_else(|| format!("{at}.sha256 must be 64 hexadecimal digits: printf %s SECRET | sha256sum"))?;
    let role = must("role")?;
    let role = Role::parse(role)
        .ok_or_else(|| format!("{at}.role must be viewer, developer or admin, not {role}"))?;
    let user = text("user").unwrap_or(&name).to_owned();
    let tenant = text("tenant").unwrap_or(Principal::DEFAULT_TENANT).to_owned();
    Ok(ApiKey { principal: Principal { user, tenant, role }, name, sha256 })
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0u8; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * i..2 * i + 2)?, 16).ok()?;
    }
    Some(bytes)
}

impl ApiKey {
    /// The key among `keys` whose secret is `secret`. Hashes are compared, so that timing says nothing about
    /// the secret, and all of them are, so that it says nothing about their order.
    pub fn find<'k>(keys: &'k [Self], secret: &str) -> Option<&'k Self> {
        let hash: [u8; 32] = Sha256::digest(secret.as_bytes()).into();
        keys.iter().fold(None, |found, key| if key.sha256 == hash { Some(key) } else { found })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_key_is_found_by_its_secret_alone() {
        let sha256 = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"; // "secret"
        let keys = keys_from(&json!([{"name": "ci", "sha256": sha256, "role": "developer", "user": "ada"}]))
            .unwrap();
        let found = ApiKey::find(&keys, "secret").unwrap();
        assert_eq!((found.principal.user.as_str(), found.principal.role), ("ada", Role::Developer));
        assert_eq!(ApiKey::find(&keys, "Secret"), None);
        assert_eq!(ApiKey::find(&keys, sha256), None);
    }

    #[test]
    fn wrong_entries_are_named() {
        for (list, message) in [
            (json!({}), "must be a list"),
            (json!([1]), "libra.auth.keys[0] must be"),
            (json!([{"name": "a"}]), "libra.auth.keys[0].sha256 is missing"),
            (json!([{"name": "a", "sha256": "abc", "role": "admin"}]), "64 hexadecimal digits"),
            (
                json!([{"name": "a", "sha256": "0".repeat(64), "role": "root"}]),
                "viewer, developer or admin, not root",
            ),
            (json!([{"name": "a", "secret": "b"}]), "libra.auth.keys[0].secret is not a known field"),
        ] {
            let error = keys_from(&list).unwrap_err();
            assert!(error.contains(message), "{error}");
        }
    }
}
