//! Looks at files twice a second and tells of new contents, once they stand still.
//!
//! The contents themselves are compared: no time of change is fine enough, and what Kubernetes
//! mounts changes by a link. The files are small. Contents that were different at the last look may be
//! half written, or one file of two: they are looked at once more.

use std::fs;
use std::io::Read as _;
use std::path::PathBuf;
use std::time::Duration;

use millstream_chassis::metrics::FileLabel;
use millstream_chassis::{Drain, Metrics};
use millstream_clock::task;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(500);
/// Largest file.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// What takes new contents, in the order of the paths, or says what is wrong with them.
type Take = Box<dyn FnMut(&[Vec<u8>]) -> Result<(), String> + Send>;

/// The bytes of each file, or the error of one.
type Contents = Result<Vec<Vec<u8>>, String>;

/// Files that belong together, and who takes what they hold.
pub(super) struct Watched {
    what: &'static str,
    paths: Vec<PathBuf>,
    /// As they were last seen, whether they were taken or not.
    seen: Contents,
    /// What was new at the last look.
    new: Option<Contents>,
    take: Take,
}

impl Watched {
    /// Reads the files for the first time; `take` must take them.
    pub(super) fn open(
        what: &'static str,
        paths: Vec<PathBuf>,
        mut take: Take,
    ) -> Result<Self, String> {
        let contents = read(&paths)?;
        take(&contents).map_err(|problem| named(&paths, &problem))?;
        Ok(Self {
            what,
            paths,
            seen: Ok(contents),
            new: None,
            take,
        })
    }

    /// Looks until the drain begins.
    pub(super) async fn run(mut self, metrics: Metrics, drain: Drain) {
        loop {
            tokio::select! {
                () = task::sleep(PAUSE) => {},
                () = drain.begun() => return,
            }
            let paths = self.paths.clone();
            let reading = tokio::task::spawn_blocking(move || read(&paths));
            let Ok(contents) = reading.await else {
                return;
            };
            if let Err(problem) = self.look(contents) {
                let label = FileLabel { file: self.what };
                metrics.file_reloads_failed.get_or_create(&label).inc();
                tracing::warn!(
                    what = self.what,
                    problem,
                    "a changed file is refused, the old \
                    state goes on"
                );
            }
        }
    }

    /// Takes `contents` if they are new and the same as at the last look; an error is told once.
    fn look(&mut self, contents: Contents) -> Result<(), String> {
        if contents == self.seen {
            self.new = None;
            return Ok(());
        }
        if self.new.as_ref() != Some(&contents) {
            self.new = Some(contents);
            return Ok(());
        }
        self.new = None;
        self.seen = contents;
        let contents = self.seen.as_deref().map_err(Clone::clone)?;
        (self.take)(contents).map_err(|problem| named(&self.paths, &problem))
    }
}

fn named(paths: &[PathBuf], problem: &str) -> String {
    let paths: Vec<String> = paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    format!("{}: {problem}", paths.join(" and "))
}

/// The contents of all files; an error names its file.
pub(super) fn read(paths: &[PathBuf]) -> Contents {
    let one = |path: &PathBuf| {
        let mut bytes = Vec::new();
        let file = fs::File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let read = file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes);
        read.map_err(|error| format!("{}: {error}", path.display()))?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(format!("{}: it is over 4MiB", path.display()));
        }
        Ok(bytes)
    };
    paths.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    #[test]
    fn new_contents_are_taken_once_and_bad_ones_told_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("f");
        fs::write(&path, "1").expect("written");
        let taken: Arc<Mutex<Vec<String>>> = Arc::default();
        let log = Arc::clone(&taken);
        let take = move |contents: &[Vec<u8>]| {
            let text = String::from_utf8_lossy(&contents[0]).into_owned();
            if text == "bad" {
                return Err("it is bad".to_owned());
            }
            log.lock().push(text);
            Ok(())
        };
        let paths = vec![path.clone()];
        let mut watched = Watched::open("f", paths.clone(), Box::new(take)).expect("good");
        let mut step = |text: Option<&str>| {
            match text {
                Some(text) => fs::write(&path, text).expect("written"),
                None => fs::remove_file(&path).expect("removed"),
            }
            assert_eq!(watched.look(read(&paths)), Ok(()), "it may change on");
            [watched.look(read(&paths)), watched.look(read(&paths))]
        };
        assert_eq!(step(Some("1")), [Ok(()), Ok(())]);
        assert_eq!(step(Some("2")), [Ok(()), Ok(())]);
        let [first, again] = step(Some("bad"));
        assert!(first.expect_err("refused").ends_with("/f: it is bad"));
        assert_eq!(again, Ok(()));
        let [first, again] = step(None);
        assert!(first.expect_err("gone").contains("No such file"));
        assert_eq!(again, Ok(()));
        assert_eq!(step(Some("2")), [Ok(()), Ok(())], "back");
        assert_eq!(*taken.lock(), ["1", "2", "2"]);
    }

    #[test]
    fn the_first_contents_must_be_good() {
        let missing = vec![PathBuf::from("/does/not/exist")];
        let opened = Watched::open("f", missing, Box::new(|_| Ok(())));
        assert!(opened.err().expect("refused").contains("/does/not/exist"));
        let there = vec![PathBuf::from("/dev/null")];
        let opened = Watched::open("f", there, Box::new(|_| Err("no".to_owned())));
        assert_eq!(opened.err().as_deref(), Some("/dev/null: no"));
    }
}
