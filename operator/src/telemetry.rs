//! Logs: structured lines on stderr, as `millstream server` writes them.
//!
//! `MILLSTREAM_LOG` sets the level (`info` unless set), `MILLSTREAM_LOG_FORMAT` is `text` or
//! `json`.

use tracing_subscriber::EnvFilter;

use crate::failure::Failure;

/// Sends log lines to stderr, as the environment asks. A second call changes nothing.
///
/// # Errors
/// When the environment's level or form is none.
pub fn init(env: &dyn Fn(&str) -> Option<String>) -> Result<(), Failure> {
    let level = env("MILLSTREAM_LOG").unwrap_or_else(|| "info".to_owned());
    let filter = EnvFilter::try_new(&level).map_err(|error| {
        Failure::Setting(format!(
            "MILLSTREAM_LOG is no log level: {error}; write error, warn, info, debug or trace"
        ))
    })?;
    let format = env("MILLSTREAM_LOG_FORMAT").unwrap_or_else(|| "text".to_owned());
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false);
    let outcome = match format.as_str() {
        "text" => builder.try_init(),
        "json" => builder.json().try_init(),
        _ => {
            let problem = format!("MILLSTREAM_LOG_FORMAT is '{format}'; write text or json");
            return Err(Failure::Setting(problem));
        },
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
        let level = init(&|name| (name == "MILLSTREAM_LOG").then(|| "a=b=c".to_owned()));
        let format = init(&|name| (name == "MILLSTREAM_LOG_FORMAT").then(|| "xml".to_owned()));
        for (outcome, want) in [
            (level, "MILLSTREAM_LOG "),
            (format, "MILLSTREAM_LOG_FORMAT "),
        ] {
            let text = outcome.expect_err("refused").to_string();
            assert!(text.starts_with(want), "{text}");
        }
    }
}
