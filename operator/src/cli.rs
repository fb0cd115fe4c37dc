//! The command line: one flag, and what Kubernetes says about the pod by environment variables.

use std::path::PathBuf;

use clap::{Arg, Command, value_parser};

use crate::failure::Failure;

/// Where the configuration is unless a flag says otherwise.
const CONFIG: &str = "/etc/millstream/operator.yaml";

/// What the operator is started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// The configuration file.
    pub config: PathBuf,
    /// The name of its pod: who it is in the election and to servers.
    pub pod: String,
    /// Its namespace.
    pub namespace: String,
}

/// The flags.
#[must_use]
pub fn command() -> Command {
    Command::new("millstream-operator")
        .about("Turns DataStream objects into running, healed shard pods")
        .version(env!("CARGO_PKG_VERSION"))
        .arg(
            Arg::new("config")
                .long("config")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .default_value(CONFIG)
                .help("YAML file with the configuration"),
        )
        .after_help(
            "POD_NAME and POD_NAMESPACE say who this process is; the chart sets them. \
             Exit codes: 2 configuration, 4 damaged state in the cluster, 5 I/O or API server, \
             6 another replica leads.",
        )
}

impl Start {
    /// Reads flags and environment.
    ///
    /// # Errors
    /// When a variable is missing.
    pub fn read(
        flags: &clap::ArgMatches,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Failure> {
        let required = |name: &str| {
            let value = env(name).filter(|value| !value.is_empty());
            value.ok_or_else(|| {
                Failure::Setting(format!(
                    "environment variable {name} is not set; set it from the pod's metadata, as \
                     the chart does"
                ))
            })
        };
        let config = flags.get_one::<PathBuf>("config").cloned();
        Ok(Self {
            config: config.unwrap_or_else(|| PathBuf::from(CONFIG)),
            pod: required("POD_NAME")?,
            namespace: required("POD_NAMESPACE")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pod_says_who_the_process_is() {
        let flags = command().get_matches_from(["millstream-operator", "--config", "/x.yaml"]);
        let env = |name: &str| Some(format!("the-{}", name.to_ascii_lowercase()));
        let start = Start::read(&flags, &env).expect("complete");
        assert_eq!(start.config, PathBuf::from("/x.yaml"));
        assert_eq!(start.pod, "the-pod_name");
        let error = Start::read(&flags, &|_| None).expect_err("incomplete");
        assert!(error.to_string().contains("POD_NAME"), "{error}");
        assert_eq!(error.exit_code(), 2);
    }
}
