//! Who may see the metrics: whoever sends the token of a file, or, where there is none, whoever
//! comes from loopback.
//!
//! With a token loopback has to send it too: a proxy beside the process speaks from there for
//! anybody. The file is read for each request that brings a token, so that a new one counts at once;
//! a file that cannot be used lets nobody in.

use std::fs::File;
use std::io::Read as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::{HeaderMap, header};
use parking_lot::Mutex;
use subtle::ConstantTimeEq as _;

/// Longest token, and longest file with its blanks, in bytes.
const TOKEN_BYTES_MAX: u64 = 4 * 1024;
/// Shortest token: an empty file must not let in who sends nothing.
const TOKEN_BYTES_MIN: usize = 16;
/// The scheme of the header, in any case.
const SCHEME: &str = "bearer ";

/// Decides about `/metrics`. Clones share it.
#[derive(Clone, Debug)]
pub struct Guard(Option<Arc<TokenFile>>);

#[derive(Debug)]
struct TokenFile {
    path: PathBuf,
    /// What was wrong with the file when it was last read: told once.
    problem: Mutex<Option<String>>,
}

impl Guard {
    /// Asks for the token in `token_file`; without a file, for a caller from loopback.
    #[must_use]
    pub fn new(token_file: Option<PathBuf>) -> Self {
        Self(token_file.map(|path| {
            Arc::new(TokenFile {
                path,
                problem: Mutex::default(),
            })
        }))
    }

    /// Whether tokens are asked for.
    #[must_use]
    pub const fn asks(&self) -> bool {
        self.0.is_some()
    }

    /// Whether the sender of these headers may see the metrics.
    pub(super) async fn admits(&self, peer: IpAddr, headers: &HeaderMap) -> bool {
        let Some(file) = &self.0 else {
            return peer.to_canonical().is_loopback();
        };
        let Some(shown) = bearer(headers).map(<[u8]>::to_vec) else {
            return false;
        };
        let file = Arc::clone(file);
        let compared = tokio::task::spawn_blocking(move || file.holds(&shown));
        compared.await.unwrap_or(false)
    }
}

impl TokenFile {
    fn holds(&self, shown: &[u8]) -> bool {
        let read = read(&self.path);
        let problem = read.as_ref().err().cloned();
        let is_same = read.is_ok_and(|token| token.ct_eq(shown).into());
        let mut told = self.problem.lock();
        if problem != *told {
            if let Some(problem) = &problem {
                let path = self.path.display();
                tracing::warn!(%path, problem, "nobody can see the metrics");
            }
            *told = problem;
        }
        is_same
    }
}

/// The token that a request brings.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked(SCHEME.len())?;
    scheme
        .eq_ignore_ascii_case(SCHEME.as_bytes())
        .then_some(token)
}

/// The token in the file, without the blanks around it. What is wrong is said without a word of it.
fn read(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| error.to_string())?;
    let read = file.take(TOKEN_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| error.to_string())?;
    if bytes.len() as u64 > TOKEN_BYTES_MAX {
        return Err("it is over 4KiB, too large for a token".to_owned());
    }
    let token = bytes.trim_ascii();
    if token.len() < TOKEN_BYTES_MIN {
        return Err(format!("its token is shorter than {TOKEN_BYTES_MIN} bytes"));
    }
    Ok(token.to_vec())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const THERE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 244, 1, 7));
    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    fn with(value: &str) -> HeaderMap {
        let value = header::HeaderValue::from_str(value).expect("a header");
        HeaderMap::from_iter([(header::AUTHORIZATION, value)])
    }

    #[tokio::test]
    async fn without_a_file_loopback_alone_is_let_in() {
        let guard = Guard::new(None);
        assert!(guard.admits(HERE, &HeaderMap::new()).await);
        let mapped = Ipv4Addr::LOCALHOST.to_ipv6_mapped().into();
        assert!(guard.admits(mapped, &HeaderMap::new()).await);
        assert!(!guard.admits(THERE, &HeaderMap::new()).await);
        let any = with(&format!("Bearer {TOKEN}"));
        assert!(!guard.admits(THERE, &any).await);
    }

    #[tokio::test]
    async fn the_token_of_the_file_lets_in_and_nothing_else_does() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), format!("{TOKEN}\n")).expect("written");
        let guard = Guard::new(Some(file.path().to_owned()));
        for good in [format!("Bearer {TOKEN}"), format!("bearer {TOKEN}")] {
            assert!(guard.admits(THERE, &with(&good)).await, "{good}");
        }
        let (head, _) = TOKEN.split_at(31);
        for bad in [
            "Bearer ",
            "Bearer",
            TOKEN,
            &format!("Basic  {TOKEN}"),
            &format!("Bearer {head}"),
            &format!("Bearer {head}0"),
            &format!("Bearer {TOKEN}0"),
            &format!("Bearer  {TOKEN}"),
        ] {
            assert!(!guard.admits(THERE, &with(bad)).await, "{bad}");
        }
        for peer in [HERE, THERE] {
            assert!(!guard.admits(peer, &HeaderMap::new()).await, "{peer}");
        }
    }

    #[tokio::test]
    async fn a_new_token_counts_at_once_and_a_bad_file_lets_nobody_in() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("token");
        let guard = Guard::new(Some(path.clone()));
        let old = with(&format!("Bearer {TOKEN}"));
        assert!(!guard.admits(THERE, &old).await, "there is no file");
        std::fs::write(&path, TOKEN).expect("written");
        assert!(guard.admits(THERE, &old).await);
        let renewed = TOKEN.to_ascii_uppercase();
        std::fs::write(&path, &renewed).expect("written");
        assert!(!guard.admits(THERE, &old).await);
        assert!(
            guard
                .admits(THERE, &with(&format!("Bearer {renewed}")))
                .await
        );
        for bad in [String::new(), "\n".to_owned(), "x".repeat(5_000)] {
            std::fs::write(&path, &bad).expect("written");
            let shown = with(&format!("Bearer {}", bad.trim()));
            assert!(!guard.admits(THERE, &shown).await);
        }
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_without_its_contents() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "hunter2").expect("written");
        let problem = read(file.path()).expect_err("too short");
        assert!(!problem.contains("hunter2"), "{problem}");
        let guard = Guard::new(Some(file.path().to_owned()));
        assert!(!format!("{guard:?}").contains("hunter2"));
    }
}
