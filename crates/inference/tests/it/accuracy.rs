//! The server's answers are the trained model's answers.

use inference::client::infer;
use inference::image::Picture;
use serde_json::Value;

use crate::rig::{Pki, config, example, ready};

#[tokio::test]
async fn the_twenty_pictures_get_the_trained_models_probabilities() {
    let server = ready(config()).await;
    let pki = Pki::new("inference");
    let target = pki.target(vec![pki.front(server.address, false).await]);
    let expected: Value = serde_json::from_slice(&std::fs::read(example("expected.json")).unwrap()).unwrap();
    let expected = expected.as_object().unwrap();
    assert_eq!(expected.len(), 20);
    for (name, expected) in expected {
        let png = std::fs::read(example("digits").join(name)).unwrap();
        let answer = infer(&target, &Picture::from_png(&png).unwrap(), 10).await.unwrap();
        assert_eq!(Some(answer.classes[0].index), expected["class"].as_u64(), "{name}");
        for class in &answer.classes {
            let trained = expected["probabilities"][usize::try_from(class.index).unwrap()].as_f64().unwrap();
            assert!((f64::from(class.probability) - trained).abs() < 1e-5, "{name}, class {}", class.index);
        }
    }
}
