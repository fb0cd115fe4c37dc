//! The file of access keys: `accessKeys: [{id, secret, account, sessionToken?}]`.
//!
//! No error shows a secret, whatever the file looks like.

use std::collections::HashSet;

use millstream_chassis::yaml::{self, Value};
use millstream_protocol::sigv4::{AccessKey, Secret};
use millstream_types::AccountId;

/// Most keys.
const KEYS_MAX: usize = 10_000;
/// Longest id of a key, in characters: AWS's limit.
const ID_CHARS_MAX: usize = 128;
/// Longest secret, in characters.
const SECRET_CHARS_MAX: usize = 256;
/// Longest session token, in characters.
const TOKEN_CHARS_MAX: usize = 4096;

const LIST: &str = "accessKeys";
const FIELDS: [&str; 4] = ["id", "secret", "account", "sessionToken"];

/// The keys of a file. Read by hand: the library's own errors show values.
pub(super) fn parse(bytes: &[u8]) -> Result<Vec<AccessKey>, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is no UTF-8 text".to_owned())?;
    let documents = yaml::documents(text).map_err(|error| error.to_string())?;
    let list = match &documents[..] {
        [Value::Mapping(map)] if map.len() == 1 => map.get(LIST).and_then(Value::as_sequence),
        _ => None,
    };
    let list = list.ok_or_else(|| format!("it is not one map with a list '{LIST}' alone"))?;
    if list.len() > KEYS_MAX {
        return Err(format!("it has more than {KEYS_MAX} keys"));
    }
    let mut ids = HashSet::new();
    let mut keys = Vec::with_capacity(list.len());
    for (at, entry) in list.iter().enumerate() {
        let key = key(entry).map_err(|problem| format!("{LIST}[{at}]{problem}"))?;
        if !ids.insert(key.id.clone()) {
            let id = &key.id;
            return Err(format!("{LIST}[{at}].id: the key '{id}' is there twice"));
        }
        keys.push(key);
    }
    Ok(keys)
}

/// The key of one entry; an error continues the entry's path.
fn key(entry: &Value) -> Result<AccessKey, String> {
    let map = entry.as_mapping().ok_or(" is no map")?;
    let known = |key: &Value| FIELDS.iter().any(|field| key.as_str() == Some(field));
    if !map.keys().all(known) {
        let fields = FIELDS.join(", ");
        return Err(format!(" has an unknown field; there are {fields}"));
    }
    let text = |field: &str| match map.get(field) {
        None | Some(Value::Null) => Err(format!(".{field}: it is missing")),
        Some(Value::String(text)) => Ok(text.as_str()),
        Some(_) => Err(format!(".{field}: it is no text; put it in quotes")),
    };
    let id = text("id")?;
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if id.is_empty() || id.len() > ID_CHARS_MAX || !id.chars().all(word) {
        return Err(format!(
            ".id: an id has 1 to {ID_CHARS_MAX} letters, digits, '_', '-' and '.'"
        ));
    }
    let account = text("account")?.parse::<AccountId>();
    let secret = hidden("secret", text("secret")?, SECRET_CHARS_MAX)?;
    let session_token = if map.contains_key("sessionToken") {
        let token = text("sessionToken")?;
        Some(hidden("sessionToken", token, TOKEN_CHARS_MAX)?)
    } else {
        None
    };
    Ok(AccessKey {
        id: id.to_owned(),
        account: account.map_err(|error| format!(".account: {error}"))?,
        secret,
        session_token,
    })
}

fn hidden(field: &str, text: &str, chars_max: usize) -> Result<Secret, String> {
    let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
    if text.is_empty() || text.len() > chars_max || !visible {
        return Err(format!(
            ".{field}: it has 1 to {chars_max} visible ASCII characters and no blanks; is there a \
             line end in it?"
        ));
    }
    Ok(Secret::new(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_accounts_and_some_a_session_token() {
        let text = "accessKeys:\n- {id: AKIA1, secret: a/b+c=, account: \"000000000000\"}\n\
                    - id: b\n  secret: \"1\"\n  account: '111122223333'\n  sessionToken: tok\n";
        let keys = parse(text.as_bytes()).expect("good");
        assert_eq!(keys.len(), 2);
        assert_eq!(keys[0].secret.reveal(), "a/b+c=");
        assert_eq!(keys[0].session_token, None);
        assert_eq!(keys[1].account.as_str(), "111122223333");
        assert!(keys[1].session_token.as_ref().expect("there").is(b"tok"));
        assert_eq!(parse(b"accessKeys: []").map(|keys| keys.len()), Ok(0));
    }

    #[test]
    fn a_bad_file_is_refused_and_shows_no_secret() {
        for (text, problem) in [
            (String::new(), "not one map with a list 'accessKeys'"),
            (
                "accessKeys: []\n---\naccessKeys: []".to_owned(),
                "not one map",
            ),
            ("keys: []".to_owned(), "not one map"),
            ("accessKeys: []\nmore: hush".to_owned(), "not one map"),
            ("accessKeys: hush".to_owned(), "not one map"),
            ("hush".to_owned(), "not one map"),
            ("- hush".to_owned(), "not one map"),
            ("accessKeys: [".to_owned(), "line"),
            ("accessKeys: [hush]".to_owned(), "accessKeys[0] is no map"),
        ] {
            refused(&text, problem);
        }
        assert_eq!(parse(b"\xff"), Err("it is no UTF-8 text".to_owned()));
    }

    #[test]
    fn a_bad_key_is_refused_by_its_field_and_shows_no_secret() {
        let entry = |text: &str| format!("accessKeys: [{{{text}}}]");
        let good = "secret: hush, account: \"000000000000\"";
        for (text, problem) in [
            (entry(good), "accessKeys[0].id: it is missing"),
            (
                entry(&format!("id: k, hush: 1, {good}")),
                "[0] has an unknown field; there are id",
            ),
            (
                entry("id: k, secret: hush"),
                "accessKeys[0].account: it is missing",
            ),
            (
                entry("id: k, account: \"000000000000\""),
                "[0].secret: it is missing",
            ),
            (
                entry(&format!("id: k, sessionToken: , {good}")),
                "[0].sessionToken: it is missing",
            ),
            (
                entry("id: k, secret: hush, account: \"12\""),
                "accessKeys[0].account: ",
            ),
            (
                entry("id: k, secret: hush, account: 111122223333"),
                "put it in quotes",
            ),
            (
                entry("id: k, secret: 4711, account: \"000000000000\""),
                "put it in quotes",
            ),
            (
                entry("id: k, secret: [hush], account: \"000000000000\""),
                "put it in quotes",
            ),
            (
                entry("id: k, secret: \"\", account: \"000000000000\""),
                "accessKeys[0].secret",
            ),
            (
                entry("id: k, secret: \"hush\\n\", account: \"000000000000\""),
                "line end",
            ),
            (
                entry(&format!("id: k, sessionToken: \"hu sh\", {good}")),
                "[0].sessionToken",
            ),
            (entry(&format!("id: k/x, {good}")), "accessKeys[0].id"),
            (
                format!("accessKeys: [{{id: k, {good}}}, {{id: k, {good}}}]"),
                "accessKeys[1].id: the key 'k' is there twice",
            ),
        ] {
            refused(&text, problem);
        }
    }

    fn refused(text: &str, problem: &str) {
        let found = parse(text.as_bytes()).expect_err(text);
        assert!(found.contains(problem), "{text}: {found}");
        assert!(
            !found.contains("hush") && !found.contains("4711"),
            "{found}"
        );
    }
}
