//! The reference pages that are made from tables in the code: settings and metrics.
//!
//! A page is compared with what the tables say; `UPDATE=1` (part of `make gen`) writes it instead.

use std::fmt::Write as _;
use std::path::Path;

use millstream_chassis::config::{ACCOUNT_SHARDS_MAX, Limits, SETTINGS};
use millstream_chassis::memory::TABLE;
use millstream_chassis::metrics::cloudwatch::Measure;
use millstream_chassis::metrics::names::{ALL, Kind};

const HEADER: &str = "<!-- Generated from the code by `make gen`. Do not edit. -->\n\n";

/// Compares the page with `content`, or writes it.
fn assert_current(page: &str, content: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../docs/reference")
        .join(page);
    let content = format!("{HEADER}{content}");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &content).expect("the page can be written");
    }
    let on_disk = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(on_disk, content, "{page} is stale: run `make gen`");
}

#[test]
fn the_page_of_settings_is_current() {
    let mut page = String::from(
        "# Settings of `millstream server`\n\n\
         A flag counts before its variable, the variable before the file of `--config`, the file \
         before the default.\nSizes take `KiB`, `MiB` and `GiB`. Logs: `MILLSTREAM_LOG` is the \
         level (`info`), or directives such as\n`info,millstream_storage=debug`; \
         `MILLSTREAM_LOG_FORMAT` is `text` or `json`.\n\n\
         | flag | variable | default | meaning |\n|---|---|---|---|\n",
    );
    for setting in SETTINGS {
        let dashes = if setting.name.len() == 1 { "-" } else { "--" };
        let default = setting
            .default
            .map_or_else(String::new, |value| format!("`{value}`"));
        let (name, value, help) = (setting.name, setting.value, setting.help);
        let variable = setting.variable();
        writeln!(
            page,
            "| `{dashes}{name} {value}` | `{variable}` | {default} | {help} |"
        )
        .expect("a string takes everything");
    }
    let limits = Limits::default();
    writeln!(
        page,
        "\n## The file of `--limits`\n\nA YAML map. What it leaves out keeps its default, which \
         counts without a file too; an unknown key is refused.\n\n\
         | key | default | at most | meaning |\n|---|---|---|---|\n\
         | `accountShards` | {} | {ACCOUNT_SHARDS_MAX} | shards of one account in all its regions; \
         CreateStream beyond it gets LimitExceededException |",
        limits.account_shards
    )
    .expect("a string takes everything");
    page.push_str(
        "\n## How `--memory-bytes` is split\n\nA request that finds no room in its share gets \
         ProvisionedThroughputExceededException.\n\n| share | parts of 32 | holds |\n|---|---|---|\n",
    );
    for share in TABLE {
        writeln!(
            page,
            "| `{}` | {} | {} |",
            share.name, share.parts, share.holds
        )
        .expect("a string takes everything");
    }
    assert_current("settings.md", &page);
}

#[test]
fn the_page_of_metrics_is_current() {
    let mut page = String::from(
        "# Metrics\n\nThe admin port shows them at `/metrics`.\n\n## The process\n\n\
         | name | kind | labels | meaning |\n|---|---|---|---|\n",
    );
    for name in ALL {
        let kind = match name.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let labels: Vec<String> = name
            .labels
            .iter()
            .map(|label| format!("`{label}`"))
            .collect();
        writeln!(
            page,
            "| `{}` | {kind} | {} | {} |",
            name.shown(),
            labels.join(" "),
            name.help
        )
        .expect("a string takes everything");
    }
    page.push_str(
        "\n## CloudWatch's, per stream\n\nGauges over the last whole minute, under the names of \
         cloudwatch_exporter, labelled `stream_name`; `shard_id` where the\nstream asks for \
         metrics per shard; `account` and `region` for streams outside the server's own.\n\n\
         | name | CloudWatch | statistic |\n|---|---|---|\n",
    );
    for measure in Measure::ALL {
        let (name, aws) = (measure.name(), measure.aws_name());
        writeln!(page, "| `{name}` | {aws} | {} |", measure.statistic())
            .expect("a string takes everything");
    }
    assert_current("metrics.md", &page);
}
