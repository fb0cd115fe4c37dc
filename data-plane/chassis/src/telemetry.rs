//! Logs: structured lines on stderr.
//!
//! `MILLSTREAM_LOG` sets the level (`info` unless set; `debug`, or directives such as
//! `info,millstream_storage=debug`), `MILLSTREAM_LOG_FORMAT` is `text` or `json`.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// The variable with the level.
pub const LEVEL_VARIABLE: &str = "MILLSTREAM_LOG";
/// The variable with the form of the lines.
pub const FORMAT_VARIABLE: &str = "MILLSTREAM_LOG_FORMAT";

/// Why logging could not be set up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TelemetryError {
    /// The level is no filter.
    #[error("MILLSTREAM_LOG is no log level: {0}; write error, warn, info, debug or trace")]
    Level(String),
    /// The form is unknown.
    #[error("MILLSTREAM_LOG_FORMAT is '{0}'; write text or json")]
    Format(String),
}

/// Sends log lines to stderr, as the environment asks. A second call changes nothing.
///
/// # Errors
/// When the environment's level or form is none.
pub fn init(env: &dyn Fn(&str) -> Option<String>) -> Result<(), TelemetryError> {
    let level = env(LEVEL_VARIABLE).unwrap_or_else(|| "info".to_owned());
    let filter =
        EnvFilter::try_new(&level).map_err(|error| TelemetryError::Level(error.to_string()))?;
    let format = env(FORMAT_VARIABLE).unwrap_or_else(|| "text".to_owned());
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let outcome = match format.as_str() {
        "text" => builder.try_init(),
        "json" => builder.json().try_init(),
        _ => return Err(TelemetryError::Format(format)),
    };
    // An error says that there is a subscriber already: a test's.
    drop(outcome);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_variable_that_is_wrong() {
        let level = init(&|name| (name == LEVEL_VARIABLE).then(|| "a=b=c".to_owned()));
        assert!(matches!(level, Err(TelemetryError::Level(_))));
        let format = init(&|name| (name == FORMAT_VARIABLE).then(|| "xml".to_owned()));
        assert_eq!(format, Err(TelemetryError::Format("xml".to_owned())));
    }
}
