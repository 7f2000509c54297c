//! What is refused, and that the message names it.

use super::*;

/// The message of a configuration that must be refused.
fn refusal(file: &str, variables: &[(&str, &str)]) -> String {
    read(file, variables).expect_err("this configuration was taken")
}

#[test]
fn unknown_keys_and_variables_are_named() {
    for (file, variables, named) in [
        (
            "[server]\nprot = 1\n",
            &[][..],
            vec!["prot", "drift.toml", "api_port"],
        ),
        (
            "[sever]\nhost = \"::1\"\n",
            &[],
            vec!["sever", "drift.toml"],
        ),
        ("top = 1\n", &[], vec!["top", "drift.toml"]),
        (
            "",
            &[("DRIFT_SERVER_PROT", "1")],
            vec!["DRIFT_SERVER", "prot", "api_port"],
        ),
        ("", &[("DRIFT_SEVER_HOST", "::1")], vec!["DRIFT_", "sever"]),
        ("", &[("DRIFT_HOST", "::1")], vec!["DRIFT_HOST"]),
        (
            "",
            &[("DRIFT_server_host", "::1")],
            vec!["DRIFT_server_host"],
        ),
        (
            "",
            &[("DRIFT_STORAGE_PATH", "")],
            vec!["DRIFT_STORAGE_PATH", "empty"],
        ),
    ] {
        let message = refusal(file, variables);
        for word in named {
            assert!(message.contains(word), "{message:?} does not name {word:?}");
        }
    }
}

#[test]
fn values_of_the_wrong_kind_are_named_with_their_place() {
    for (file, variables, named) in [
        (
            "[server]\napi_port = 65536\n",
            &[][..],
            vec!["[server] api_port", "65535", "drift.toml"],
        ),
        ("[server]\napi_port = -1\n", &[], vec!["[server] api_port"]),
        (
            "[server]\nbody_timeout = 30\n",
            &[],
            vec!["[server] body_timeout", "30s"],
        ),
        (
            "[server]\nbody_timeout = \"30\"\n",
            &[],
            vec!["[server] body_timeout", "30s"],
        ),
        (
            "[server]\nbody_timeout = \"0s\"\n",
            &[],
            vec!["[server] body_timeout"],
        ),
        (
            "[server]\nhost = \"example.org\"\n",
            &[],
            vec!["[server] host", "DRIFT_SERVER_HOST"],
        ),
        (
            "[server]\nconnections_max = 0\n",
            &[],
            vec!["connections_max"],
        ),
        ("[server]\nui_port = 5000\n", &[], vec!["ui_port", "5000"]),
        (
            "[storage]\nbackend = \"s3\"\n",
            &[],
            vec!["[storage] backend", "ghostbay"],
        ),
        ("[storage]\nbucket = \"A\"\n", &[], vec!["[storage] bucket"]),
        ("[storage]\npath = \"\"\n", &[], vec!["[storage] path"]),
        (
            "[registry]\nmissing_references = \"yes\"\n",
            &[],
            vec!["missing_references", "allow-children"],
        ),
        (
            "[auth]\nenabled = 0\n",
            &[],
            vec!["[auth] enabled", "true or false"],
        ),
        ("[auth\n", &[], vec!["drift.toml"]),
        (
            "[[quota.rules]]\nrepositories = \"a[\"\ntags = 1\n",
            &[],
            vec!["[quota] rules", "a[", "no pattern"],
        ),
        (
            "[[quota.rules]]\nrepositories = \"a\"\n",
            &[],
            vec!["[quota] rules", "\"a\"", "limits nothing"],
        ),
        (
            "[[immutable.rules]]\nrepositories = \"a\"\n",
            &[],
            vec!["[immutable] rules", "tags"],
        ),
        (
            "[[auth.issuers]]\nurl = \"http://a\"\naudience = \"drift\"\n",
            &[],
            vec!["[auth] issuers", "http://a", "https://"],
        ),
        (
            "[[auth.issuers]]\nurl = \"https://a\"\naudience = \"drift\"\n\
             [[auth.trust]]\nissuer = \"https://a\"\nrole = \"ci\"\n[auth.trust.claims]\n",
            &[],
            vec![
                "[auth] trust",
                "ci",
                "everybody who has a token of https://a",
            ],
        ),
        (
            "[[auth.trust]]\nissuer = \"https://a\"\nrole = \"ci\"\nclaims = { sub = \"***\" }\n",
            &[],
            vec!["[auth] trust", "***", "no pattern of a claim"],
        ),
        (
            "[[s3.lifecycle]]\nbucket = \"tmp\"\nexpire_after = \"0s\"\n",
            &[],
            vec!["[s3] lifecycle", "tmp", "above 0"],
        ),
        (
            "[telemetry]\notlp_endpoint = \"localhost:4318\"\n",
            &[],
            vec!["[telemetry] otlp_endpoint", "http nor https"],
        ),
        (
            "[telemetry]\nsample_ratio = 1.5\n",
            &[],
            vec!["[telemetry] sample_ratio", "1.5", "from 0 to 1"],
        ),
        (
            "[telemetry]\nservice_name = \" \"\n",
            &[],
            vec!["[telemetry] service_name", "empty"],
        ),
        (
            "",
            &[("DRIFT_TELEMETRY_SAMPLE_RATIO", "half")],
            vec!["DRIFT_TELEMETRY_SAMPLE_RATIO", "half", "from 0 to 1"],
        ),
        (
            "",
            &[("DRIFT_QUOTA_RULES", "many")],
            vec!["DRIFT_QUOTA_RULES"],
        ),
        (
            "",
            &[("DRIFT_AUTH_ENABLED", "no")],
            vec!["DRIFT_AUTH_ENABLED", "true or false"],
        ),
        (
            "",
            &[("DRIFT_SERVER_API_PORT", "http")],
            vec!["DRIFT_SERVER_API_PORT", "http"],
        ),
    ] {
        let message = refusal(file, variables);
        for word in named {
            assert!(message.contains(word), "{message:?} does not name {word:?}");
        }
    }
}

#[test]
fn a_secret_of_a_collector_is_not_said_again() {
    for (key, value) in [
        ("otlp_endpoint", "https://me:s3cret@collector.example.com"),
        ("otlp_endpoint", "https://collector.example.com/?key=s3cret"),
        ("headers", "api key=s3cret"),
        ("headers", "s3cret"),
    ] {
        let message = refusal(&format!("[telemetry]\n{key} = \"{value}\"\n"), &[]);
        assert!(
            message.contains(key) && !message.contains("s3cret"),
            "{message}"
        );
    }
    let config = read("[telemetry]\nheaders = \"api-key=s3cret\"\n", &[]).unwrap();
    assert!(!format!("{config:?}").contains("s3cret"));
}

#[test]
fn an_open_registry_on_a_network_must_be_asked_for() {
    for host in ["0.0.0.0", "::", "192.0.2.1", "::ffff:192.0.2.1"] {
        let message = refusal("", &[("DRIFT_SERVER_HOST", host)]);
        assert!(
            message.contains("[auth] enabled") && message.contains(host),
            "{message}"
        );
        for enabled in ["true", "false"] {
            let variables = [("DRIFT_SERVER_HOST", host), ("DRIFT_AUTH_ENABLED", enabled)];
            assert!(read("", &variables).is_ok());
        }
    }
    for host in [
        "127.0.0.1",
        "127.9.9.9",
        "::1",
        "[::1]",
        "localhost",
        "::ffff:127.0.0.1",
    ] {
        assert!(
            read("", &[("DRIFT_SERVER_HOST", host)]).is_ok(),
            "{host} was refused"
        );
    }
}

#[test]
fn a_file_that_is_named_must_exist() {
    let error = Config::read(Some(Path::new("/nowhere/drift.toml")), []).unwrap_err();
    assert!(error.to_string().contains("/nowhere/drift.toml"), "{error}");
}
