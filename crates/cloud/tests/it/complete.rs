//! The Coordinator's files are what `casemate generate` completes: class, image, policy and initdata, and nothing else.

use cloud::files::{Registry, platform, render};
use policy::generate::{PLATFORMS, Tee};

#[test]
fn generate_knows_the_coordinator_of_each_file_by_its_role() {
    let mut files = 0;
    for platform_of_file in PLATFORMS.iter().filter(|platform| platform.tee != Tee::Software) {
        let rendered = render(platform(platform_of_file.name).unwrap(), &Registry::default()).unwrap();
        let Some(file) = rendered.files.iter().find(|file| file.name.starts_with("coordinator-")) else { continue };
        files += 1;
        let role = format!("{}: coordinator", policy::generate::ROLE_KEY);
        assert!(file.text.contains(&role), "{}", file.name);
        // The command of the head names platforms that `generate` takes.
        let command = file.text.lines().find(|line| line.starts_with("#   casemate generate")).expect("a command");
        let words: Vec<&str> = command.split_whitespace().collect();
        let named: Vec<String> =
            words.windows(2).filter(|pair| pair[0] == "--reference-values").map(|pair| pair[1].to_owned()).collect();
        assert!(!named.is_empty() && named.contains(&platform_of_file.name.to_owned()), "{command}");
        policy::generate::check_platforms(&named).expect("platforms");
    }
    assert_eq!(files, 8, "all that have guests of their own");
}
