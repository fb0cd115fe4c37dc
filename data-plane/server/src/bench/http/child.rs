//! A server of our own, as a process of its own: this program once more.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use millstream_chassis::metrics::names::{self, Name};
use millstream_clock::task;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::super::BenchError;
use super::super::usage::{DiskUse, WAL_FILE_BYTES};
use super::connection::Connection;
use super::endpoint::Endpoint;
use super::load::Served;

/// How long a server may take until it says where it listens.
const START: Duration = Duration::from_secs(60);

/// A running server; it is killed when this is dropped.
pub(crate) struct ChildServer {
    child: Child,
    endpoint: Endpoint,
    pid: u32,
    admin: SocketAddr,
}

impl ChildServer {
    /// Starts a server on `data_dir` and waits until it is ready. Its log goes to a file beside.
    pub(crate) async fn start(data_dir: &Path) -> Result<Self, BenchError> {
        let admin = free_address()?;
        let log = std::fs::File::create(log_file(data_dir))?;
        let mut child = Command::new(std::env::current_exe()?)
            .arg(crate::server_command::NAME)
            .arg("--data-dir")
            .arg(data_dir)
            .args(["--listen", "127.0.0.1:0", "--admin-listen"])
            .arg(admin.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()?;
        let pid = child.id().ok_or_else(|| ended(data_dir))?;
        let stdout = child.stdout.take().ok_or_else(|| ended(data_dir))?;
        let mut lines = BufReader::new(stdout).lines();
        let ready = task::timeout(START, async {
            while let Some(line) = lines.next_line().await? {
                if let Some(url) = line.strip_prefix("export AWS_ENDPOINT_URL=") {
                    return Ok(Some(url.to_owned()));
                }
            }
            Ok::<_, BenchError>(None)
        });
        let url = ready.await.map_err(|_| ended(data_dir))??;
        // the server writes more lines: they are read to its end, or it would fail to write them
        drop(task::spawn("server-stdout", async move {
            while let Ok(Some(_line)) = lines.next_line().await {}
        }));
        let endpoint = url
            .and_then(|url| url.parse().ok())
            .ok_or_else(|| ended(data_dir))?;
        Ok(Self {
            child,
            endpoint,
            pid,
            admin,
        })
    }

    /// What a load needs to know.
    pub(crate) fn served(&self) -> Served {
        Served {
            endpoint: self.endpoint,
            pid: Some(self.pid),
            metrics: Some(Metrics { admin: self.admin }),
        }
    }

    /// Ends it as a crash does.
    pub(crate) async fn kill(mut self) -> Result<(), BenchError> {
        Ok(self.child.kill().await?)
    }
}

/// The metrics of a server of ours.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Metrics {
    admin: SocketAddr,
}

impl Metrics {
    /// What the server did to its disk so far.
    pub(crate) async fn disk_use(&self) -> Result<DiskUse, BenchError> {
        let endpoint = Endpoint { addr: self.admin };
        let mut connection = Connection::open(endpoint).await?;
        let request = format!("GET /metrics HTTP/1.1\r\nhost: {}\r\n\r\n", self.admin);
        let answer = connection.send(request.as_bytes()).await?;
        let text = String::from_utf8_lossy(answer.body);
        let metric = |name: &Name| {
            value(&text, &name.shown()).ok_or_else(|| BenchError::Server {
                endpoint: endpoint.to_string(),
                what: format!("/metrics does not show {}", name.shown()),
            })
        };
        let zeroed = metric(&names::WAL_FILES_CREATED)? * WAL_FILE_BYTES;
        let mut bytes = zeroed;
        for name in [
            &names::WAL_WRITTEN,
            &names::SEGMENT_WRITTEN,
            &names::CHECKPOINT_WRITTEN,
        ] {
            bytes += metric(name)?;
        }
        let syncs = metric(&names::WAL_SYNCS)?;
        Ok(DiskUse { syncs, bytes })
    }
}

/// The value of a series without labels.
fn value(metrics: &str, name: &str) -> Option<u64> {
    let mut series = metrics.lines().filter_map(|line| line.split_once(' '));
    let (_, value) = series.find(|(series, _)| *series == name)?;
    value.trim().parse().ok()
}

fn free_address() -> Result<SocketAddr, BenchError> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

fn log_file(data_dir: &Path) -> PathBuf {
    data_dir.with_extension("log")
}

fn ended(data_dir: &Path) -> BenchError {
    let log = std::fs::read_to_string(log_file(data_dir)).unwrap_or_default();
    let last = log.lines().last().unwrap_or("it said nothing");
    BenchError::Ended(format!("the server did not start: {last}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_read_by_its_whole_name() {
        let text = "# HELP a_b x\na_bc_total 7\na_b_total 5\n";
        assert_eq!(value(text, "a_b_total"), Some(5));
        assert_eq!(value(text, "a_b"), None);
    }
}
