//! The client, its stream, and the count of checks.

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::retry::RetryConfig;
use aws_sdk_kinesis::config::{BehaviorVersion, Credentials, Region};

/// What every check needs.
pub struct Session {
    /// The SDK's client, with retries off.
    pub client: Client,
    /// The stream of this run.
    pub name: String,
    count: usize,
    failed: usize,
}

impl Session {
    /// A client of the server that the environment names.
    pub fn from_environment() -> Self {
        let variable = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("set {name}"));
        let key = variable("AWS_ACCESS_KEY_ID");
        let secret = variable("AWS_SECRET_ACCESS_KEY");
        let config = aws_sdk_kinesis::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(variable("AWS_ENDPOINT_URL"))
            .region(Region::new(variable("AWS_REGION")))
            .credentials_provider(Credentials::new(key, secret, None, None, "environment"))
            .retry_config(RetryConfig::disabled())
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .build();
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("after 1970");
        Self {
            client: Client::from_conf(config),
            name: format!("rust-{}", now.as_nanos()),
            count: 0,
            failed: 0,
        }
    }

    /// Reports one check; a failed one does not stop those after it.
    pub fn report(&mut self, what: &str, result: Result<(), String>) {
        self.count += 1;
        match result {
            Ok(()) => println!("ok {} - {what}", self.count),
            Err(why) => {
                self.failed += 1;
                println!("not ok {} - {what}", self.count);
                why.lines().for_each(|line| println!("  # {line}"));
            },
        }
    }

    /// Prints the plan.
    pub fn finish(&self) -> ExitCode {
        println!("1..{}", self.count);
        if self.failed == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }
}
