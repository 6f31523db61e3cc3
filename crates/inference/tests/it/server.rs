//! KServe v2 over loopback: what is answered, and above all what is not.

use std::time::Duration;

use expect_test::{Expect, expect};
use inference::sealed::{ModelKey, SealOptions, seal_file};
use inference::server::{Config, LoadError, ServeError, Server};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::rig::{LABELS, config, example, question, ready, start};

#[tokio::test]
async fn metadata_and_health_are_those_of_kserve() {
    let server = ready(config()).await;
    assert_eq!(server.get("/v2/health/live").await.json(), json!({ "live": true }));
    assert_eq!(server.get("/v2/health/ready").await.json(), json!({ "ready": true }));
    assert_eq!(server.get("/v2").await.json()["name"], "casemate-serve");
    let model = server.get("/v2/models/digits").await.json();
    assert_eq!(model["inputs"], json!([{ "name": "pixels", "datatype": "FP32", "shape": [-1, 64] }]));
    assert_eq!(model["outputs"], json!([{ "name": "probabilities", "datatype": "FP32", "shape": [-1, 10] }]));
    let version = model["versions"][0].as_str().unwrap();
    assert_eq!(version, protocol::Digest::of(&std::fs::read(example("digits.onnx")).unwrap()).to_string());
    assert_eq!(server.get(&format!("/v2/models/digits/versions/{version}")).await.json(), model);
    assert_eq!(server.get("/v2/models/digits/ready").await.json(), json!({ "name": "digits", "ready": true }));
    let index = server.send("POST", "/v2/repository/index", "", b"{}").await.json();
    assert_eq!(index[0]["name"], "digits");
}

#[tokio::test]
async fn an_answer_carries_model_version_id_and_pod() {
    let server = ready(config()).await;
    let mut body = question(2);
    body["id"] = json!("question 1");
    let reply = server.infer(&body).await;
    let answer = reply.json();
    assert_eq!((reply.status, &answer["id"], &answer["model_name"]), (200, &json!("question 1"), &json!("digits")));
    assert_eq!(answer["model_version"].as_str().unwrap().len(), 64);
    assert_eq!(answer["outputs"][0]["shape"], json!([2, 10]));
    let numbers = answer["outputs"][0]["data"].as_array().unwrap();
    assert_eq!(numbers.len(), 20);
    let sum: f64 = numbers.iter().take(10).filter_map(Value::as_f64).sum();
    assert!((sum - 1.0).abs() < 1e-4);
    assert!(reply.head.contains("x-casemate-pod: inference-0"));
    assert!(server.get("/nothing").await.head.contains("x-casemate-pod: inference-0"), "errors name the pod too");
}

#[tokio::test]
async fn classification_gives_labels_where_there_are_labels() {
    let dir = tempfile::tempdir().unwrap();
    let labels = dir.path().join("labels.txt");
    std::fs::write(&labels, LABELS).unwrap();
    let mut with_labels = config();
    with_labels.source.labels = Some(labels);
    for (config, parts) in [(config(), 2), (with_labels, 3)] {
        let server = ready(config).await;
        let mut body = question(2);
        body["outputs"] = json!([{ "name": "probabilities", "parameters": { "classification": 3 } }]);
        let output = server.infer(&body).await.json()["outputs"][0].clone();
        assert_eq!((&output["datatype"], &output["shape"]), (&json!("BYTES"), &json!([2, 3])));
        let classes: Vec<Vec<String>> = output["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|class| class.as_str().unwrap().split(':').map(ToOwned::to_owned).collect())
            .collect();
        assert!(classes.iter().all(|class| class.len() == parts));
        let score = |at: usize| classes[at][0].parse::<f32>().unwrap();
        assert!(score(0) >= score(1) && score(1) >= score(2));
        assert_eq!(classes[..3], classes[3..], "equal rows have equal classes");
    }
}

#[tokio::test]
async fn a_sealed_model_is_served_under_its_sealed_name() {
    let dir = tempfile::tempdir().unwrap();
    let (sealed, key_file) = (dir.path().join("m.sealed"), dir.path().join("key"));
    let key = ModelKey::generate().unwrap();
    key.to_new_file(&key_file).unwrap();
    let info = seal_file(&example("digits.onnx"), &sealed, &key, &SealOptions::new("secret-digits")).unwrap();
    let mut config = Config::new(([127, 0, 0, 1], 0).into(), sealed);
    config.source.key_file = Some(key_file);
    let server = ready(config).await;
    let model = server.get("/v2/models/secret-digits").await.json();
    assert_eq!(model["versions"][0], info.digest.to_string());
    let metrics = String::from_utf8(server.get("/metrics").await.body).unwrap();
    assert!(metrics.contains(&format!("model_info{{name=\"secret-digits\",version=\"{}\"}} 1", info.digest)));
}

#[tokio::test]
async fn unusual_but_right_requests_are_answered() {
    let server = ready(config()).await;
    let nested: Vec<Vec<f32>> = vec![vec![0.5; 64]; 3];
    let mut flags = question(1);
    flags["parameters"] = json!({ "binary_data_output": false });
    flags["outputs"] = json!([{ "name": "probabilities", "parameters": { "binary_data": false } }]);
    let mut no_outputs = question(1);
    no_outputs["outputs"] = json!([]);
    for body in [
        question(64),
        json!({ "inputs": [{ "name": "pixels", "shape": [3, 64], "datatype": "FP32", "data": nested }] }),
        flags,
        no_outputs,
    ] {
        assert_eq!(server.infer(&body).await.status, 200, "{body}");
    }
    let text = format!("\n {} \n", question(1));
    let version = server.get("/v2/models/digits").await.json()["versions"][0].as_str().unwrap().to_owned();
    let path = format!("/v2/models/digits/versions/{version}/infer");
    assert_eq!(server.send("POST", &path, "content-type: text/plain\r\n", text.as_bytes()).await.status, 200);
}

#[tokio::test]
async fn wrong_questions_are_refused_with_their_reason() {
    let server = ready(config()).await;
    let check = async |change: &dyn Fn(&mut Value), expected: Expect| {
        let mut body = question(1);
        change(&mut body);
        let reply = server.infer(&body).await;
        assert_eq!(reply.status, 400, "{body}");
        expected.assert_eq(&reply.error());
    };
    check(&|b| b["inputs"][0]["name"] = json!("pixel"), expect!["the model has no input `pixel`; it has `pixels`"])
        .await;
    check(
        &|b| b["inputs"][0]["datatype"] = json!("FP64"),
        expect!["input `pixels` has datatype `FP64`, the model takes FP32"],
    )
    .await;
    check(
        &|b| b["inputs"][0]["datatype"] = json!("fp32"),
        expect!["input `pixels` has datatype `fp32`, the model takes FP32"],
    )
    .await;
    check(
        &|b| b["inputs"][0]["shape"] = json!([64]),
        expect!["input `pixels` has shape [64], the model takes [-1,64]"],
    )
    .await;
    check(
        &|b| b["inputs"][0]["shape"] = json!([1, 8, 8]),
        expect!["input `pixels` has shape [1,8,8], the model takes [-1,64]"],
    )
    .await;
    check(&|b| b["inputs"][0]["shape"] = json!([]), expect!["input `pixels` has shape [], the model takes [-1,64]"])
        .await;
    check(
        &|b| b["inputs"][0]["shape"] = json!([0, 64]),
        expect!["input `pixels` has shape [0,64], the model takes [-1,64]"],
    )
    .await;
    check(
        &|b| b["inputs"][0]["shape"] = json!([2, 64]),
        expect!["data of input `pixels` is 64 numbers, shape [2,64] wants 128 numbers"],
    )
    .await;
    check(&|b| b["inputs"][0]["shape"] = json!([65, 64]), expect!["65 rows, at most 64 are answered at once"]).await;
    check(
        &|b| b["inputs"][0]["shape"] = json!([u64::MAX, 64]),
        expect!["18446744073709551615 rows, at most 64 are answered at once"],
    )
    .await;
    check(
        &|b| b["inputs"][0]["shape"] = json!([1.5, 64]),
        expect!["malformed request: invalid type: floating point `1.5`, expected u64 at line 1 column 40"],
    )
    .await;
    check(
        &|b| b["inputs"][0]["data"] = json!(vec![0; 63]),
        expect!["data of input `pixels` is 63 numbers, shape [1,64] wants 64 numbers"],
    )
    .await;
    check(
        &|b| b["inputs"][0]["data"] = json!([]),
        expect!["data of input `pixels` is 0 numbers, shape [1,64] wants 64 numbers"],
    )
    .await;
    check(
        &|b| b["inputs"][0]["data"] = json!(vec![vec![0; 8]; 8]),
        expect!["data of input `pixels` is nested as [8,8], shape [1,64] wants 64 numbers"],
    )
    .await;
    check(
        &|b| b["inputs"][0]["data"][5] = json!(null),
        expect!["malformed request: invalid type: null, expected numbers in arrays at line 1 column 83"],
    )
    .await;
    check(
        &|b| b["inputs"][0]["data"][5] = json!("NaN"),
        expect![[r#"malformed request: invalid type: string "NaN", expected numbers in arrays at line 1 column 84"#]],
    )
    .await;
    check(
        &|b| b["inputs"][0]["data"][5] = json!(1e39),
        expect!["malformed request: a number is beyond the range of FP32 at line 1 column 84"],
    )
    .await;
    check(&|b| b["inputs"] = json!([]), expect!["input `pixels` is missing"]).await;
    check(&|b| b["inputs"] = json!([b["inputs"][0], b["inputs"][0]]), expect!["input `pixels` is there twice"]).await;
    check(
        &|b| b["outputs"] = json!([{ "name": "logits" }]),
        expect!["the model has no output `logits`; it has `probabilities`"],
    )
    .await;
    let classes = |n: Value| json!([{ "name": "probabilities", "parameters": { "classification": n } }]);
    check(
        &|b| b["outputs"] = classes(json!(0)),
        expect!["classification wants 0 classes, output `probabilities` has 10"],
    )
    .await;
    check(
        &|b| b["outputs"] = classes(json!(11)),
        expect!["classification wants 11 classes, output `probabilities` has 10"],
    )
    .await;
    check(
        &|b| b["outputs"] = classes(json!(u64::MAX)),
        expect!["classification wants 18446744073709551615 classes, output `probabilities` has 10"],
    )
    .await;
    check(&|b| b["outputs"] = classes(json!("3")), expect!["malformed request: `classification` is not a count"]).await;
    check(&|b| b["surprise"] = json!(1), expect!["malformed request: unknown field `surprise`, expected one of `id`, `parameters`, `inputs`, `outputs` at line 1 column 210"]).await;
    // Raw bodies that no JSON library writes.
    for body in [
        &b""[..],
        b"{",
        b"\xff",
        b"[[[[",
        b"{\"inputs\":[{\"name\":\"pixels\",\"shape\":[1,64],\"datatype\":\"FP32\",\"data\":[NaN]}]}",
    ] {
        assert_eq!(server.send("POST", "/v2/models/digits/infer", "", body).await.status, 400);
    }
    assert_eq!(server.infer(&question(1)).await.status, 200, "and the server is as well as before");
}

#[tokio::test]
async fn wrong_paths_methods_and_types_are_refused_in_kserves_form() {
    let server = ready(config()).await;
    let body = question(1).to_string();
    for (method, path, headers, status) in [
        ("GET", "/", "", 404),
        ("GET", "/v1/models", "", 404),
        ("GET", "/v2/models", "", 404),
        ("GET", "/v2/models/other", "", 404),
        ("GET", "/v2/models/other/ready", "", 404),
        ("GET", "/v2/models/%ff", "", 404),
        ("GET", "/v2/models/digits%2Finfer", "", 404),
        ("GET", "/v2/models/../../etc/passwd", "", 404),
        ("GET", "/v2/models/digits/versions/1", "", 404),
        ("POST", "/v2/models/other/infer", "", 404),
        ("POST", "/v2/models/digits/versions/1/infer", "", 404),
        ("GET", "/v2/models/digits/infer", "", 405),
        ("DELETE", "/v2/models/digits", "", 405),
        ("POST", "/v2/health/ready", "", 405),
        ("PUT", "/v2/models/digits/infer", "", 405),
        ("POST", "/v2/models/digits/infer", "inference-header-content-length: 10\r\n", 415),
        ("POST", "/v2/models/digits/infer", "content-type: Application/Octet-Stream\r\n", 415),
        ("POST", "/v2/repository/index", "", 400),
    ] {
        let reply = server.send(method, path, headers, body.as_bytes()).await;
        assert_eq!(reply.status, status, "{method} {path}");
        assert!(!reply.error().is_empty(), "{method} {path}");
        assert!(reply.head.contains("application/json"), "{method} {path}");
    }
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused_announced_or_not() {
    let server = ready(config()).await;
    let body = vec![b' '; 400_000];
    let announced = server.send("POST", "/v2/models/digits/infer", "", &body).await;
    assert_eq!(announced.status, 413);
    let mut chunked =
        b"POST /v2/models/digits/infer HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
            .to_vec();
    chunked.extend_from_slice(format!("{:x}\r\n", body.len()).as_bytes());
    chunked.extend_from_slice(&body);
    assert_eq!(server.raw(&chunked).await.status, 413);
}

#[tokio::test]
async fn bytes_that_are_no_http_do_no_harm() {
    let server = ready(config()).await;
    let huge_header = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(200_000));
    for bytes in
        [&b"\x16\x03\x01\x02\x00\x01"[..], b"GET / HTTP/9.9\r\n\r\n", b"\0\0\0\0\r\n\r\n", huge_header.as_bytes()]
    {
        let reply = server.raw(bytes).await;
        assert!(reply.status == 0 || reply.status >= 400, "{}", reply.status);
    }
    assert_eq!(server.get("/v2/health/live").await.status, 200);
}

#[tokio::test]
async fn more_than_may_wait_are_refused_and_the_rest_answered() {
    let mut small = config();
    small.workers = 1;
    small.max_queue = 2;
    let server = std::sync::Arc::new(ready(small).await);
    let tasks: Vec<_> = (0..40)
        .map(|_| {
            let server = server.clone();
            tokio::spawn(async move { server.infer(&question(64)).await.status })
        })
        .collect();
    let mut statuses = Vec::new();
    for task in tasks {
        statuses.push(task.await.unwrap());
    }
    assert!(statuses.iter().all(|status| [200, 503].contains(status)), "{statuses:?}");
    assert!(statuses.contains(&200));
    assert_eq!(server.infer(&question(1)).await.status, 200);
    let metrics = String::from_utf8(server.get("/metrics").await.body).unwrap();
    assert!(metrics.contains("casemate_serve_pending 0"), "{metrics}");
}

#[tokio::test]
async fn shutdown_finishes_what_was_begun_and_takes_nothing_new() {
    let server = ready(config()).await;
    let mut open = TcpStream::connect(server.address).await.unwrap();
    let body = question(1).to_string();
    let head = format!("POST /v2/models/digits/infer HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
    open.write_all(head.as_bytes()).await.unwrap();
    // An idle connection must not hold the shutdown up.
    let _idle = TcpStream::connect(server.address).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    server.stop.send(()).unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(TcpStream::connect(server.address).await.is_err(), "the port is closed");
    open.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    open.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let ended = tokio::time::timeout(Duration::from_secs(3), server.task).await;
    ended.expect("no waiting for idle connections").unwrap().unwrap();
}

#[tokio::test]
async fn shutdown_does_not_wait_longer_than_its_grace() {
    let mut config = config();
    config.grace = Duration::from_millis(200);
    let server = ready(config).await;
    let mut stuck = TcpStream::connect(server.address).await.unwrap();
    stuck.write_all(b"POST /v2/models/digits/infer HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    server.stop.send(()).unwrap();
    tokio::time::timeout(Duration::from_secs(3), server.task).await.unwrap().unwrap().unwrap();
}

/// What `run` says of a configuration that cannot be served.
async fn load_error(config: Config) -> LoadError {
    match start(config).await.task.await.unwrap() {
        Err(ServeError::Load(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_cannot_be_loaded_is_named_and_is_the_users_to_mend() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let key = ModelKey::generate().unwrap();
    let sealed = dir.path().join("m.sealed");
    seal_file(&example("digits.onnx"), &sealed, &key, &SealOptions::new("m")).unwrap();
    let (key_file, other_key) =
        (file("key", key.to_text().as_bytes()), file("other", ModelKey::generate().unwrap().to_text().as_bytes()));
    let mut corrupt = std::fs::read(&sealed).unwrap();
    corrupt[1000] ^= 1;
    let corrupt = file("corrupt", &corrupt);
    let unsealed = file("unsealed", &[7; 100]);
    let unsealed_sealed = dir.path().join("no-model.sealed");
    seal_file(&unsealed, &unsealed_sealed, &key, &SealOptions::new("m")).unwrap();
    let nine = file("nine.txt", b"a\nb\nc\nd\ne\nf\ng\nh\ni\n");

    let with = |model: &std::path::Path, key: Option<&std::path::Path>, labels: Option<&std::path::Path>| {
        let mut config = config();
        config.source.model = model.to_owned();
        config.source.key_file = key.map(ToOwned::to_owned);
        config.source.labels = labels.map(ToOwned::to_owned);
        config
    };
    let digits = example("digits.onnx");
    let mut bad_name = config();
    bad_name.source.name = Some("a/b".into());
    let mut small = config();
    small.source.max_model_bytes = 1000;
    let mut small_sealed = with(&sealed, Some(&key_file), None);
    small_sealed.source.max_model_bytes = 1000;
    for (config, words) in [
        (with(&dir.path().join("absent"), None, None), "read model"),
        (with(dir.path(), None, None), "read model"),
        (with(&unsealed, None, None), "model `"),
        (with(&sealed, None, None), "is sealed and no key file"),
        (with(&digits, Some(&key_file), None), "is not sealed although"),
        (with(&sealed, Some(&other_key), None), "sealed model"),
        (with(&sealed, Some(&dir.path().join("absent")), None), "read key file"),
        (with(&sealed, Some(&nine), None), "key file"),
        (with(&corrupt, Some(&key_file), None), "sealed model"),
        (with(&unsealed_sealed, Some(&key_file), None), "model `"),
        (with(&digits, None, Some(&nine)), "9 labels"),
        (with(&digits, None, Some(&dir.path().join("absent"))), "read labels"),
        (with(&digits, None, Some(&file("empty.txt", b""))), "0 labels"),
        (with(&digits, None, Some(&file("gap.txt", b"a\n\nb\n"))), "line 2 is empty"),
        (with(&digits, None, Some(&file("binary.txt", b"\xff\xfe"))), "not UTF-8"),
        (with(&digits, None, Some(&file("long.txt", &[b'x'; 300]))), "line 1"),
        (bad_name, "model name"),
        (small, "more than 1000 bytes"),
        (small_sealed, "sealed model"),
    ] {
        let error = load_error(config).await;
        assert!(error.to_string().contains(words), "`{error}` lacks `{words}`");
        assert!(error.is_input(), "{error}");
    }
}

#[tokio::test]
async fn a_port_in_use_is_not_the_users_input() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = config();
    config.listen = taken.local_addr().unwrap();
    let error = Server::bind(config).await.err().unwrap();
    assert!(matches!(error, ServeError::Listen { .. }) && !error.is_input() && error.hint().is_some());
}
