//! Names of pods: what Kubernetes calls the pods of a resource, as one name and as a pattern.

use protocol::Digest;
use serde_json::Value;

use super::indexed;

/// LIMIT: Kubernetes cuts a `generateName` to 58 characters, which leaves 5 for its suffix in a label of 63.
pub(super) const MAX_GENERATE_NAME: usize = 58;

/// LIMIT: a host name is a label of RFC 1123.
pub(crate) const MAX_HOSTNAME: usize = 63;

/// LIMIT: a CronJob's name leaves 11 characters of a label of 63 to the minutes of its Jobs.
pub(crate) const MAX_CRON_JOB: usize = 52;

/// For [`pod_pattern`]: a Pod that has a `generateName` instead of a name.
pub(crate) const GENERATED_POD: &str = "Pod with generateName";
/// For [`pod_pattern`]: a Job that has a `generateName` instead of a name.
pub(crate) const GENERATED_JOB: &str = "Job with generateName";

/// Minutes from 1970 to a day in 2025: where the numbers of our CronJobs' pods begin.
pub(super) const MINUTES: u64 = 29_000_000;

/// A name that Kubernetes could give to the pod number `index` of `resource`, and that its policy accepts.
pub fn pod_name(resource: &Value, index: u64) -> String {
    if let Some(name) = indexed::pod_name(resource, index) {
        return name;
    }
    let metadata = &resource["metadata"];
    let prefix = metadata["generateName"].as_str().filter(|_| metadata["name"].is_null());
    let name = prefix.or_else(|| metadata["name"].as_str()).unwrap_or_default();
    let generated = |base: &str, seed: &str| format!("{}{}", cut(base, MAX_GENERATE_NAME), draw(name, seed, 5));
    let suffix = index.to_string();
    match resource["kind"].as_str() {
        Some("Deployment") => {
            let revision = draw(name, &resource["spec"]["template"].to_string(), 10);
            generated(&format!("{name}-{revision}-"), &suffix)
        }
        Some("StatefulSet") => format!("{name}-{index}"),
        Some("CronJob") => generated(&format!("{name}-{}-", MINUTES.saturating_add(index)), &suffix),
        Some("Job") if prefix.is_some() => generated(&format!("{}-", generated_job(name)), &suffix),
        Some("Pod") | None if prefix.is_some() => generated(name, &suffix),
        Some("Pod") | None => name.to_owned(),
        Some(_) => generated(&format!("{name}-"), &suffix),
    }
}

/// A name that Kubernetes could give to a Job with this `generateName`.
pub(super) fn generated_job(prefix: &str) -> String {
    format!("{}{}", cut(prefix, MAX_GENERATE_NAME), draw(prefix, "job", 5))
}

/// As many letters of those from which Kubernetes draws, and which spell no words.
pub(super) fn draw(name: &str, seed: &str, count: usize) -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let digest = Digest::of(format!("{name}\0{seed}").as_bytes());
    let letter = |byte: &u8| char::from(*LETTERS.get(usize::from(*byte) % LETTERS.len()).unwrap_or(&b'b'));
    digest.as_bytes().iter().take(count).map(letter).collect()
}

pub(super) fn cut(base: &str, room: usize) -> String {
    base.chars().take(room).collect()
}

/// The names that Kubernetes gives to the pods of a resource. `kind` is that of the resource, or one of this module's
/// further ones, whose `name` is the prefix.
pub(crate) fn pod_pattern(kind: &str, name: &str) -> String {
    // Kubernetes draws suffixes from letters and digits, five of them; a Deployment's ReplicaSet has up to ten more.
    let generated = |middle: &str, room: usize| {
        if name.len() + room <= MAX_GENERATE_NAME {
            return format!("^{}{middle}[a-z0-9]{{5}}$", escape(name));
        }
        // A long name is cut before the suffix is added, at a place that depends on the hash.
        let kept: String = name.chars().take(MAX_GENERATE_NAME.saturating_sub(room)).collect();
        format!("^{}[a-z0-9.-]{{0,{room}}}[a-z0-9]{{5}}$", escape(&kept))
    };
    match kind {
        "Pod" => format!("^{}$", escape(name)),
        "StatefulSet" => format!("^{}-[0-9]{{1,6}}$", escape(name)),
        "Deployment" => generated("-[a-z0-9]{1,10}-", 12),
        // The Job's name ends in the minute for which it was planned: eight digits until the year 2160.
        "CronJob" => {
            let room = MAX_GENERATE_NAME.saturating_sub(name.len());
            match room {
                11.. => format!("^{}-[0-9]{{8,9}}-[a-z0-9]{{5}}$", escape(name)),
                10 => format!("^{}-[0-9]{{8}}[0-9-][a-z0-9]{{5}}$", escape(name)),
                room => format!("^{}-[0-9]{{{}}}[a-z0-9]{{5}}$", escape(name), room.saturating_sub(1)),
            }
        }
        GENERATED_POD => format!("^{}[a-z0-9]{{5}}$", escape(&cut(name, MAX_GENERATE_NAME))),
        GENERATED_JOB => {
            let prefix = cut(name, MAX_GENERATE_NAME);
            // `prefix-12345-`, cut at 58 characters like any other.
            match MAX_GENERATE_NAME.saturating_sub(prefix.len()) {
                6.. => format!("^{}[a-z0-9]{{5}}-[a-z0-9]{{5}}$", escape(&prefix)),
                room => format!("^{}[a-z0-9]{{{room}}}[a-z0-9]{{5}}$", escape(&prefix)),
            }
        }
        _ => generated("-", 1),
    }
}

/// Names of Kubernetes objects hold letters, digits, `-` and `.`; only the dot means something to a pattern.
pub(super) fn escape(name: &str) -> String {
    name.replace('.', "\\.")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fits(pattern: &str, name: &str) -> bool {
        let mut engine = regorus::Engine::new();
        engine.set_input(regorus::Value::from(vec![pattern.into(), name.into()]));
        engine.eval_bool_query("regex.match(input[0], input[1])".into(), false).unwrap()
    }

    #[test]
    fn names_are_those_that_kubernetes_could_give() {
        let name = |kind: &str, index| pod_name(&json!({"kind": kind, "metadata": {"name": "a"}}), index);
        assert_eq!((name("Pod", 3).as_str(), name("StatefulSet", 3).as_str()), ("a", "a-3"));
        assert_eq!(name("Deployment", 0).len(), "a-1234567890-12345".len());
        assert_eq!(name("Job", 0).len(), "a-12345".len());
        assert_eq!(name("CronJob", 0).len(), "a-29000000-12345".len());
        assert_ne!(name("Deployment", 0), name("Deployment", 1));
        let long = pod_name(&json!({"kind": "Deployment", "metadata": {"name": "x".repeat(63)}}), 0);
        assert_eq!(long.len(), 63);
    }

    #[test]
    fn patterns_of_cron_jobs_and_generated_names_fit_their_pods_and_no_others() {
        for length in [1, 5, 40, 46, 47, 48, 49, 50, 51, 52] {
            let name = "x".repeat(length);
            let pattern = pod_pattern("CronJob", &name);
            for index in [0, 1, 60_000_000] {
                let pod = pod_name(&json!({"kind": "CronJob", "metadata": {"name": name}}), index);
                assert!(fits(&pattern, &pod), "{pattern}: {pod}");
            }
        }
        for length in [1, 5, 51, 52, 53, 57, 58, 59, 63] {
            let prefix = format!("{}-", "x".repeat(length));
            for (kind, pattern) in [("Pod", GENERATED_POD), ("Job", GENERATED_JOB)] {
                let pattern = pod_pattern(pattern, &prefix);
                let pod = pod_name(&json!({"kind": kind, "metadata": {"generateName": prefix}}), 3);
                assert!(pod.len() <= 63 && fits(&pattern, &pod), "{pattern}: {pod}");
                assert!(!fits(&pattern, "y-abcde") && !fits(&pattern, &format!("{pod}x")), "{pattern}");
            }
        }
        for (kind, name, other) in [
            ("CronJob", "a", "a-12345"),
            ("CronJob", "a", "a-2900000x-12345"),
            ("CronJob", "a", "a-b-29000000-12345"),
            ("CronJob", "a.b", "axb-29000000-12345"),
            (GENERATED_POD, "a-", "a-1234"),
            (GENERATED_POD, "a-", "a-b-12345"),
            (GENERATED_JOB, "a-", "a-12345"),
            (GENERATED_JOB, "a-", "a-12345-x-12345"),
        ] {
            assert!(!fits(&pod_pattern(kind, name), other), "{kind} {name}: {other}");
        }
    }
}
