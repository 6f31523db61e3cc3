//! Indexed Jobs: the controller gives each of their pods an index, and puts it into the pod's name, into its host name
//! and into a variable of every container.

use serde_json::{Value, json};

use super::MARK;
use super::names::{GENERATED_JOB, MAX_GENERATE_NAME, MINUTES, cut, draw, escape, generated_job};

/// The annotation, and since Kubernetes 1.28 the label, in which a pod has its index.
pub(crate) const INDEX_KEY: &str = "batch.kubernetes.io/job-completion-index";

/// The variable in which containers have it.
const VARIABLE: &str = "JOB_COMPLETION_INDEX";

/// Digits of the minutes that a CronJob adds to the names of its Jobs: eight until the year 2160, and then nine.
pub(crate) const MINUTE_DIGITS: usize = 9;

/// The mode and the number of pods of a Job or of the Jobs of a CronJob, as they stand there.
pub(crate) fn mode_of(resource: &Value) -> Option<(&'static str, &Value)> {
    let (path, place) = match resource["kind"].as_str()? {
        "Job" => ("spec", "/spec"),
        "CronJob" => ("spec.jobTemplate.spec", "/spec/jobTemplate/spec"),
        _ => return None,
    };
    Some((path, resource.pointer(place).unwrap_or(&Value::Null)))
}

/// How many pods with an index each a resource makes, if that is what it makes.
pub(crate) fn completions(resource: &Value) -> Option<u32> {
    let (_, job) = mode_of(resource)?;
    let count = job["completions"].as_u64().filter(|_| job["completionMode"] == json!("Indexed"))?;
    u32::try_from(count).ok().filter(|count| *count > 0)
}

/// Name of the Job of pod number `number` of a resource, and the pod's index.
fn job_of(resource: &Value, number: u64) -> Option<(String, u64)> {
    let completions = u64::from(completions(resource)?);
    let (round, index) = (number.checked_div(completions)?, number.checked_rem(completions)?);
    let metadata = &resource["metadata"];
    let job = match (metadata["name"].as_str(), metadata["generateName"].as_str()) {
        (Some(name), _) if resource["kind"] == json!("CronJob") => format!("{name}-{}", MINUTES.saturating_add(round)),
        (Some(name), _) => name.to_owned(),
        (None, prefix) => generated_job(prefix.unwrap_or_default()),
    };
    Some((job, index))
}

/// The name of pod number `number` of a resource that makes pods with an index. Of a long name of a Job there is only as
/// much as leaves room for the index.
pub(super) fn pod_name(resource: &Value, number: u64) -> Option<String> {
    let (job, index) = job_of(resource, number)?;
    let end = format!("-{index}-");
    let kept = cut(&job, MAX_GENERATE_NAME.saturating_sub(end.len()));
    Some(format!("{kept}{end}{}", draw(&job, &number.to_string(), 5)))
}

/// Pod number `number` of a resource as its controller makes it of `template`.
pub fn as_made(resource: &Value, template: &Value, number: u64) -> Value {
    let mut pod = template.clone();
    if let Some((job, index)) = job_of(resource, number) {
        give_index(&mut pod, &index.to_string());
        pod["spec"]["hostname"] = json!(format!("{job}-{index}"));
    }
    pod
}

/// Any pod of a resource that makes pods with an index, the mark of [`super::PodInstance::symbolic`] in its place.
pub(crate) fn give_symbolic_index(pod: &mut Value) {
    give_index(pod, &format!("{MARK}index{MARK}"));
}

fn give_index(pod: &mut Value, index: &str) {
    for of in ["annotations", "labels"] {
        if !pod["metadata"].is_object() {
            pod["metadata"] = json!({});
        }
        if !pod["metadata"][of].is_object() {
            pod["metadata"][of] = json!({});
        }
        pod["metadata"][of][INDEX_KEY] = json!(index);
    }
    let field = format!("metadata.annotations['{INDEX_KEY}']");
    let variable = json!({"name": VARIABLE, "valueFrom": {"fieldRef": {"fieldPath": field}}});
    for list in ["initContainers", "containers"] {
        for container in pod["spec"].get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            match container.get_mut("env").and_then(Value::as_array_mut) {
                Some(env) if env.iter().any(|known| known["name"] == json!(VARIABLE)) => {}
                Some(env) => env.push(variable.clone()),
                None => container["env"] = json!([variable]),
            }
        }
    }
}

/// The names and the host names of pods with an index, of a resource of this kind and name; see
/// [`super::names::pod_pattern`]. That both have the same index is for the rules to see.
pub(crate) fn patterns(kind: &str, name: &str, completions: u32) -> (String, String) {
    let all = decimals_below(completions);
    let host =
        format!("^{}-{}$", job_pattern(kind, name, usize::MAX), one_of(all.iter().map(|(_, text)| text.clone())));
    // An index with more digits leaves less room for the Job's name.
    let room = |digits: usize| MAX_GENERATE_NAME.saturating_sub(digits).saturating_sub(2);
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for (digits, pattern) in all {
        let job = job_pattern(kind, name, room(digits));
        match groups.last_mut() {
            Some((last, patterns)) if *last == job => patterns.push(pattern),
            _ => groups.push((job, vec![pattern])),
        }
    }
    let pod = one_of(groups.into_iter().map(|(job, patterns)| format!("{job}-{}", one_of(patterns.into_iter()))));
    (format!("^{pod}-[a-z0-9]{{5}}$"), host)
}

/// The names of the Jobs, as much of them as there is room for.
fn job_pattern(kind: &str, name: &str, room: usize) -> String {
    match kind {
        "CronJob" => match room.saturating_sub(name.len() + 1) {
            0 => escape(&cut(&format!("{name}-"), room)),
            left @ 1..MINUTE_DIGITS => format!("{}-[0-9]{{{left}}}", escape(name)),
            _ => format!("{}-[0-9]{{8,9}}", escape(name)),
        },
        GENERATED_JOB => {
            let prefix = cut(name, MAX_GENERATE_NAME);
            match room.saturating_sub(prefix.len()) {
                0 => escape(&cut(&prefix, room)),
                left => format!("{}[a-z0-9]{{{}}}", escape(&prefix), left.min(5)),
            }
        }
        _ => escape(&cut(name, room)),
    }
}

/// A pattern of exactly the decimal numbers below `end`, of which there must be one.
#[cfg(test)]
fn decimal_below(end: u32) -> String {
    one_of(decimals_below(end).into_iter().map(|(_, pattern)| pattern))
}

/// Patterns of exactly the decimal numbers below `end`, by their count of digits.
fn decimals_below(end: u32) -> Vec<(usize, String)> {
    let digits: Vec<u32> = end.to_string().chars().filter_map(|digit| digit.to_digit(10)).collect();
    let any = |count: usize| match count {
        0 => String::new(),
        1 => "[0-9]".to_owned(),
        count => format!("[0-9]{{{count}}}"),
    };
    let mut all: Vec<(usize, String)> = Vec::new();
    for count in 1..digits.len() {
        // No number but 0 begins with a zero.
        let pattern = if count == 1 { any(1) } else { format!("[1-9]{}", any(count - 1)) };
        all.push((count, pattern));
    }
    // Of as many digits: those that agree up to a place, and have a smaller digit there.
    let mut same = Vec::new();
    let mut before = String::new();
    for (place, digit) in digits.iter().enumerate() {
        let least = u32::from(place == 0 && digits.len() > 1);
        let rest = any(digits.len().saturating_sub(place + 1));
        match digit.saturating_sub(least) {
            0 => {}
            1 => same.push(format!("{before}{least}{rest}")),
            _ => same.push(format!("{before}[{least}-{}]{rest}", digit - 1)),
        }
        before.push_str(&digit.to_string());
    }
    if !same.is_empty() {
        all.push((digits.len(), one_of(same.into_iter())));
    }
    all
}

fn one_of(patterns: impl ExactSizeIterator<Item = String>) -> String {
    let several = patterns.len() != 1;
    let joined = patterns.collect::<Vec<_>>().join("|");
    if several { format!("({joined})") } else { joined }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(pattern: &str, texts: &[String]) -> Vec<bool> {
        let mut engine = regorus::Engine::new();
        engine.set_input(regorus::Value::from_json_str(&json!([pattern, texts]).to_string()).unwrap());
        let query = "[fit | some text in input[1]; fit := regex.match(input[0], text)]";
        let found = engine.eval_query(query.into(), false).unwrap().result[0].expressions[0].value.clone();
        serde_json::from_value(serde_json::to_value(found).unwrap()).unwrap()
    }

    #[test]
    fn numbers_below_an_end_fit_and_no_others() {
        for (end, pattern) in [
            (1, "0"),
            (2, "[0-1]"),
            (10, "[0-9]"),
            (11, "([0-9]|10)"),
            (20, "([0-9]|1[0-9])"),
            (100, "([0-9]|[1-9][0-9])"),
            (250, "([0-9]|[1-9][0-9]|(1[0-9]{2}|2[0-4][0-9]))"),
        ] {
            assert_eq!(decimal_below(end), pattern);
        }
        for end in [1, 2, 3, 9, 10, 11, 19, 20, 21, 99, 100, 101, 110, 199, 250, 999, 1000, 1001, 1090] {
            let numbers: Vec<String> = (0..1200).map(|number: u32| number.to_string()).collect();
            let fitting = fits(&format!("^{}$", decimal_below(end)), &numbers);
            for (number, fit) in (0_u32..).zip(fitting) {
                assert_eq!(fit, number < end, "{number} below {end}");
            }
            let others: Vec<String> =
                ["", "-1", "00", "01", "+1", "1.0", "0x1", "٣", "1 ", "1\n"].map(Into::into).into();
            let fitting = fits(&format!("^{}$", decimal_below(end)), &others);
            assert!(fitting.iter().all(|fit| !fit), "below {end}: {fitting:?}");
        }
        let last = fits(&format!("^{}$", decimal_below(u32::MAX)), &["4294967294", "4294967295"].map(Into::into));
        assert_eq!(last, [true, false]);
    }

    fn resource(kind: &str, metadata: Value, completions: u32) -> Value {
        let job = json!({"completionMode": "Indexed", "completions": completions, "template": {}});
        let spec = if kind == "CronJob" { json!({"jobTemplate": {"spec": job}}) } else { job };
        json!({"kind": kind, "metadata": metadata, "spec": spec})
    }

    #[test]
    fn patterns_fit_the_pods_of_indexed_jobs() {
        for completions in [1, 7, 10, 11, 250, 1001] {
            for (kind, of, lengths) in [
                ("Job", "Job", &[1, 20, 50, 52, 53, 54, 55, 56, 58][..]),
                ("CronJob", "CronJob", &[1, 20, 39, 40, 43, 44, 45, 46, 47, 48, 49]),
                ("Job", GENERATED_JOB, &[1, 20, 46, 47, 48, 49, 50, 51, 52, 53]),
            ] {
                for length in lengths {
                    let name = "x".repeat(*length);
                    let field = if of == GENERATED_JOB { "generateName" } else { "name" };
                    let resource = resource(kind, json!({ field: name }), completions);
                    let (pattern, host) = patterns(of, &name, completions);
                    let numbers = [0, 1, 9, 10, 249, 250, 1000, 123_456];
                    let pods: Vec<String> = numbers.iter().map(|at| super::super::pod_name(&resource, *at)).collect();
                    assert!(pods.iter().all(|pod| pod.len() <= 63));
                    assert!(fits(&pattern, &pods).iter().all(|fit| *fit), "{pattern}: {pods:?}");
                    let made = |at: &u64| as_made(&resource, &json!({"spec": {}}), *at)["spec"]["hostname"].clone();
                    let hosts: Vec<String> = numbers.iter().map(|at| made(at).as_str().unwrap().to_owned()).collect();
                    assert!(fits(&host, &hosts).iter().all(|fit| *fit), "{host}: {hosts:?}");
                    let others: Vec<String> = pods.iter().map(|pod| format!("{pod}x")).chain(hosts).collect();
                    assert!(fits(&pattern, &others).iter().all(|fit| !fit), "{pattern}: {others:?}");
                }
            }
        }
        let (pod, host) = patterns("Job", "chunks", 10);
        assert_eq!((pod.as_str(), host.as_str()), ("^chunks-[0-9]-[a-z0-9]{5}$", "^chunks-[0-9]$"));
        let (pod, _) = patterns("Job", &"x".repeat(55), 11);
        let (one, two) = ("x".repeat(55), "x".repeat(54));
        assert_eq!(pod, format!("^({one}-[0-9]|{two}-10)-[a-z0-9]{{5}}$"));
    }

    #[test]
    fn only_indexed_jobs_give_an_index() {
        let template = json!({"spec": {"containers": [{"name": "c"}]}});
        for other in [
            json!({"kind": "Job", "spec": {"completions": 3}}),
            json!({"kind": "Job", "spec": {"completions": 3, "completionMode": "NonIndexed"}}),
            json!({"kind": "Job", "spec": {"completions": 0, "completionMode": "Indexed"}}),
            json!({"kind": "Job", "spec": {"completions": "3", "completionMode": "Indexed"}}),
            json!({"kind": "Job", "spec": {"completionMode": "Indexed"}}),
            json!({"kind": "CronJob", "spec": {"completions": 3, "completionMode": "Indexed"}}),
            json!({"kind": "Deployment", "spec": {"completions": 3, "completionMode": "Indexed"}}),
        ] {
            assert_eq!(completions(&other), None, "{other}");
            assert_eq!(as_made(&other, &template, 1), template);
        }
    }

    #[test]
    fn every_container_has_the_index_unless_it_has_its_own() {
        let template = json!({"spec": {
            "initContainers": [{"name": "i"}],
            "containers": [
                {"name": "a", "env": [{"name": "A", "value": "$(JOB_COMPLETION_INDEX)"}]},
                {"name": "b", "env": [{"name": "JOB_COMPLETION_INDEX", "value": "7"}]},
            ],
        }});
        let pod = as_made(&resource("Job", json!({"name": "chunks"}), 4), &template, 6);
        assert_eq!(pod["spec"]["hostname"], json!("chunks-2"));
        assert_eq!(pod["metadata"]["annotations"][INDEX_KEY], json!("2"));
        assert_eq!(pod["spec"]["initContainers"][0]["env"][0]["name"], json!(VARIABLE));
        assert_eq!(pod["spec"]["containers"][0]["env"][1]["name"], json!(VARIABLE));
        assert_eq!(pod["spec"]["containers"][1], template["spec"]["containers"][1]);
    }
}
