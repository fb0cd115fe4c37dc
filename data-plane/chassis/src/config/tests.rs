use std::io::Write as _;

use super::*;

type Pairs<'a> = &'a [(&'static str, &'a str)];

/// Loads from flags, variables, and a file's text.
fn load(flags: Pairs<'_>, variables: Pairs<'_>, file: Option<&str>) -> Result<Config, ConfigError> {
    let mut flags: BTreeMap<&'static str, String> =
        flags.iter().map(|(k, v)| (*k, (*v).to_owned())).collect();
    let written = file.map(|text| {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(text.as_bytes()).expect("written");
        file
    });
    if let Some(file) = &written {
        flags.insert("config", file.path().display().to_string());
    }
    Config::load(flags, &|name| {
        let pair = variables.iter().find(|(k, _)| *k == name);
        pair.map(|(_, v)| OsString::from(v))
    })
}

fn problem(flags: Pairs<'_>, variables: Pairs<'_>, file: Option<&str>) -> String {
    load(flags, variables, file)
        .expect_err("refused")
        .to_string()
}

#[test]
fn the_defaults_are_the_documented_ones() {
    let config = load(&[], &[], None).expect("the defaults are valid");
    assert_eq!(config.data_dir, PathBuf::from("./millstream-data"));
    assert_eq!(config.listen.to_string(), "127.0.0.1:4567");
    assert_eq!(config.admin_listen.to_string(), "127.0.0.1:4568");
    assert_eq!((config.manifests, config.credentials), (None, None));
    assert_eq!(config.region.as_str(), "us-east-1");
    assert_eq!(config.account.as_str(), "000000000000");
    assert_eq!(config.limits.account_shards, 10_000);
    assert_eq!(config.wal_file_bytes, 64 << 20);
    assert_eq!(config.checkpoint_bytes, 256 << 20);
    assert_eq!(config.segment_bytes, 64 << 20);
    assert_eq!(config.memory.total_bytes(), 512 << 20);
    assert_eq!(config.drain, Duration::from_secs(20));
}

#[test]
fn a_flag_beats_a_variable_beats_the_file_beats_the_default() {
    let flag: Pairs<'_> = &[("region", "from-flag")];
    let variable: Pairs<'_> = &[("MILLSTREAM_REGION", "from-variable")];
    let file = Some("region: from-file\n");
    for (flags, variables, file, expected) in [
        (flag, variable, file, "from-flag"),
        (&[], variable, file, "from-variable"),
        (&[], &[], file, "from-file"),
        (&[], &[], None, "us-east-1"),
        (flag, &[], file, "from-flag"),
        (flag, variable, None, "from-flag"),
    ] {
        let config = load(flags, variables, file).expect("valid");
        assert_eq!(config.region.as_str(), expected);
    }
}

#[test]
fn every_setting_can_come_from_every_source() {
    let values = [
        ("data-dir", "/d"),
        ("listen", "127.0.0.1:1"),
        ("admin-listen", "[::1]:2"),
        ("metrics-token-file", "/metrics-token"),
        ("f", "/manifests"),
        ("auth", "verify"),
        ("credentials", "/c"),
        ("tls", "self-signed"),
        ("tls-listen", "0.0.0.0:443"),
        ("tls-names", "example.com"),
        ("region", "eu-west-1"),
        ("account", "123456789012"),
        ("limits", "unlimited"),
        ("wal-file-bytes", "4MiB"),
        ("checkpoint-bytes", "8MiB"),
        ("segment-bytes", "1MiB"),
        ("memory-bytes", "256MiB"),
        ("drain-seconds", "3"),
        ("role", "shard"),
        ("operator", "operator:4570"),
        ("token-file", "/token"),
        ("ca-file", "/ca"),
        ("pool", "default"),
        ("rpc-listen", "0.0.0.0:9"),
        ("pod-name", "shard-1"),
        ("pod-namespace", "team-a"),
        ("operator-namespace", "millstream-system"),
    ];
    assert_eq!(
        values.len() + 3,
        SETTINGS.len(),
        "all but config, and the files that exclude self-signed"
    );
    let flags = load(&values, &[], None).expect("as flags");
    let names: Vec<String> = SETTINGS.iter().map(Setting::variable).collect();
    let from_env = Config::load(BTreeMap::new(), &|name| {
        let at = names.iter().position(|n| n == name)?;
        let value = values.iter().find(|(k, _)| *k == SETTINGS[at].name)?;
        Some(OsString::from(value.1))
    });
    let mut yaml = String::new();
    for (name, value) in values {
        yaml.push_str(&format!("{name}: \"{value}\"\n"));
    }
    assert_eq!(from_env.as_ref(), Ok(&flags));
    assert_eq!(load(&[], &[], Some(&yaml)).as_ref(), Ok(&flags));
    let defaults = load(&[], &[], None).expect("defaults");
    assert_ne!(flags.memory, defaults.memory);
    assert_eq!(flags.manifests, Some(PathBuf::from("/manifests")));
}

#[test]
fn the_file_takes_numbers_and_other_spellings_of_a_key() {
    let config = load(&[], &[], Some("drainSeconds: 5\ndata_dir: /x\n")).expect("valid");
    assert_eq!(config.drain, Duration::from_secs(5));
    assert_eq!(config.data_dir, PathBuf::from("/x"));
    assert!(
        load(&[], &[], Some("")).is_ok(),
        "an empty file sets nothing"
    );
}

#[test]
fn an_error_names_the_setting_the_source_the_value_and_the_fix() {
    assert_eq!(
        problem(&[], &[("MILLSTREAM_WAL_FILE_BYTES", "64MB")], None),
        "setting 'wal-file-bytes' from the environment variable MILLSTREAM_WAL_FILE_BYTES is \
         '64MB': it is no size; write a whole number with B, KiB, MiB or GiB, such as 64MiB"
    );
    let in_file = problem(&[], &[], Some("memory-bytes: 1MiB\n"));
    assert!(
        in_file.starts_with("setting 'memory-bytes' from the file "),
        "{in_file}"
    );
    assert!(in_file.contains("at least 128MiB"), "{in_file}");
}

#[test]
fn modes_that_are_not_there_are_refused_by_name() {
    for (flag, value, fix) in [
        ("limits", "aws", "use 'unlimited'"),
        ("limits", "/does/not/exist.yaml", "use 'unlimited'"),
    ] {
        let text = problem(&[(flag, value)], &[], None);
        assert!(text.contains(fix) && text.contains(flag), "{text}");
    }
}

#[test]
fn nothing_listens_beyond_loopback_unverified() {
    let verified: Pairs<'_> = &[("auth", "verify"), ("credentials", "/c")];
    let signed: Pairs<'_> = &[("tls", "self-signed")];
    for (flag, more) in [("listen", &[][..]), ("tls-listen", signed)] {
        for address in ["0.0.0.0:4567", "[::]:4567", "192.168.1.1:80"] {
            let flags = [&[(flag, address)], more].concat();
            let text = problem(&flags, &[], None);
            assert!(text.contains("beyond loopback"), "{text}");
            assert!(text.contains(&format!("setting '{flag}'")), "{text}");
            assert!(text.contains("--auth verify"), "{text}");
            let flags = [&flags, verified].concat();
            let config = load(&flags, &[], None).expect("verified");
            let tls = config.tls.map(|tls| tls.listen);
            assert_eq!(tls.unwrap_or(config.listen).to_string(), address);
        }
        for address in ["", "4567", "example.com:80", "127.0.0.1", "127.0.0.1:99999"] {
            let text = problem(&[&[(flag, address)], more].concat(), &[], None);
            assert!(text.contains("no address"), "{text}");
        }
    }
    // Signatures are no token for the metrics.
    let admin = [&[("admin-listen", "0.0.0.0:1")], verified].concat();
    let text = problem(&admin, &[], None);
    assert!(text.contains("beyond loopback"), "{text}");
    assert!(text.contains("set --metrics-token-file"), "{text}");
    let admin = [&admin[..], &[("metrics-token-file", "/t")]].concat();
    let config = load(&admin, &[], None).expect("they ask for a token");
    assert_eq!(config.admin_listen.to_string(), "0.0.0.0:1");
    let config = load(&[("listen", "localhost:0")], &[], None).expect("localhost is loopback");
    assert_eq!(config.listen.to_string(), "127.0.0.1:0");
}

#[test]
fn each_listener_has_an_address_of_its_own() {
    let (one, two) = ("127.0.0.1:9", "127.0.0.1:8");
    for (listen, admin, tls, refused) in [
        (one, one, two, "admin-listen"),
        (one, two, one, "tls-listen"),
        (two, one, one, "admin-listen"),
        ("127.0.0.1:4566", one, "", "listen"),
    ] {
        let mut flags = vec![
            ("listen", listen),
            ("admin-listen", admin),
            ("tls", "self-signed"),
        ];
        flags.extend((!tls.is_empty()).then_some(("tls-listen", tls)));
        let text = problem(&flags, &[], None);
        assert!(text.contains("own port"), "{text}");
        assert!(text.contains(&format!("setting '{refused}'")), "{text}");
    }
    let free = "127.0.0.1:0";
    let flags = [
        ("listen", free),
        ("admin-listen", free),
        ("tls-listen", free),
    ];
    assert!(load(&[&flags[..], &[("tls", "self-signed")]].concat(), &[], None).is_ok());
}

#[test]
fn authentication_is_loopback_or_verified_with_keys() {
    let config = load(&[], &[], None).expect("the defaults");
    assert_eq!(config.auth, AuthMode::Loopback);
    let flags = [("auth", "verify"), ("credentials", "/keys.yaml")];
    let config = load(&flags, &[], None).expect("verified");
    assert_eq!(config.auth, AuthMode::Verify);
    assert_eq!(config.credentials, Some(PathBuf::from("/keys.yaml")));
    for (flags, text) in [
        (&[("auth", "none")][..], "use 'loopback' or 'verify'"),
        (&[("auth", "verify")], "set --credentials"),
        (&[("auth", "verify"), ("credentials", "")], "give a path"),
    ] {
        let found = problem(flags, &[], None);
        assert!(found.contains(text), "{flags:?}: {found}");
    }
}

#[test]
fn tls_has_files_or_a_certificate_of_its_own() {
    let tls = |flags: Pairs<'_>| load(flags, &[], None).expect("valid").tls;
    assert_eq!(tls(&[]), None);
    let own = tls(&[
        ("tls", "self-signed"),
        ("tls-names", "a.example, *.b, ::1,10.0.0.1"),
    ]);
    let own = own.expect("a port");
    assert_eq!(own.listen.to_string(), "127.0.0.1:4566");
    let names = ["a.example", "*.b", "::1", "10.0.0.1"].map(str::to_owned);
    let names = names.to_vec();
    assert_eq!(own.certificate, CertificateSource::SelfSigned { names });
    let files = tls(&[
        ("tls-cert", "/c"),
        ("tls-key", "/k"),
        ("tls-listen", "[::1]:5"),
    ]);
    let files = files.expect("a port");
    assert_eq!(files.listen.to_string(), "[::1]:5");
    let (certificate, key) = (PathBuf::from("/c"), PathBuf::from("/k"));
    assert_eq!(
        files.certificate,
        CertificateSource::Files { certificate, key }
    );
}

#[test]
fn tls_settings_that_do_not_go_together_are_refused_by_name() {
    for (flags, setting, text) in [
        (&[("tls", "on")][..], "tls", "use 'self-signed'"),
        (&[("tls-cert", "/c")], "tls-cert", "set --tls-key too"),
        (&[("tls-key", "/k")], "tls-key", "set --tls-cert too"),
        (
            &[("tls-cert", ""), ("tls-key", "/k")],
            "tls-cert",
            "give a path",
        ),
        (
            &[("tls-listen", "127.0.0.1:1")],
            "tls-listen",
            "no certificate to listen with",
        ),
        (
            &[("tls-names", "a")],
            "tls-names",
            "'--tls self-signed' alone",
        ),
        (
            &[("tls", "self-signed"), ("tls-cert", "/c")],
            "tls-cert",
            "one or the other",
        ),
        (
            &[("tls", "self-signed"), ("tls-key", "/k")],
            "tls-key",
            "one or the other",
        ),
        (
            &[("tls", "self-signed"), ("tls-names", "a,")],
            "tls-names",
            "'' is no DNS name",
        ),
        (
            &[("tls", "self-signed"), ("tls-names", "a b")],
            "tls-names",
            "'a b' is no DNS name",
        ),
        (
            &[("tls", "self-signed"), ("tls-names", "-a")],
            "tls-names",
            "'-a' is no DNS name",
        ),
    ] {
        let found = problem(flags, &[], None);
        assert!(found.contains(&format!("setting '{setting}'")), "{found}");
        assert!(found.contains(text), "{flags:?}: {found}");
    }
}

#[test]
fn values_out_of_range_are_refused() {
    for (flag, value) in [
        ("account", "12"),
        ("region", "US"),
        ("drain-seconds", "-1"),
        ("drain-seconds", "3601"),
        ("segment-bytes", "1KiB"),
        ("checkpoint-bytes", "65GiB"),
        ("data-dir", ""),
        ("f", ""),
    ] {
        assert!(problem(&[(flag, value)], &[], None).contains(flag));
    }
}

#[test]
fn a_file_that_cannot_be_used_is_named() {
    let missing = problem(&[("config", "/does/not/exist.yaml")], &[], None);
    assert!(missing.contains("/does/not/exist.yaml"), "{missing}");
    for (text, expected) in [
        (
            "regoin: x\n",
            "'regoin' is no setting; there are role, data-dir, listen",
        ),
        ("config: x\n", "'config' is no setting"),
        ("- a\n", "not one map"),
        ("a: 1\n---\nb: 2\n", "not one map"),
        ("region: [a]\n", "no single value"),
        ("data-dir: a\ndataDir: b\n", "'data-dir' is there twice"),
        ("region: a\nregion: b\n", "duplicate"),
        ("region: [\n", "line"),
    ] {
        let problem = problem(&[], &[], Some(text));
        assert!(problem.contains(expected), "{text:?} gave {problem}");
    }
}
