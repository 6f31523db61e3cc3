//! `cargo xtask evidence`: the corpus of Evidence that real hardware signed, from the public repositories that hold it.
//!
//! None of it may be in this repository. Each file is pinned by commit and SHA-256, so whoever fetches it has the same
//! corpus, and no origin is believed. The fetching itself is done by the example `get` of crate `endorsements`, because
//! this program must stay small and HTTPS is not.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use anyhow::{Context, Result};
use clap::Args;
use sha2::{Digest as _, Sha256};

use crate::failure::{negative, unknown};
use crate::proc;
use crate::workspace::{self, Metadata};

/// Serves a file of a public repository as `/OWNER/REPOSITORY/COMMIT/PATH`.
const ORIGIN: &str = "https://raw.githubusercontent.com";
/// LIMIT: the largest file of the corpus, an event log with the unused rest of its region, has 1 MiB.
const MAX_FILE: u64 = 2 * 1024 * 1024;
/// The variable by which tests find the corpus.
const VARIABLE: &str = "CASEMATE_EVIDENCE";

/// A repository at a commit.
const TRUSTEE: &str = "confidential-containers/trustee/78962cd416dcc8a32f9377e0066a28fe21420f69";
const SDK: &str = "NVIDIA/attestation-sdk/73c032ebff680ca6d2ba06f4006b511491b71ce9";
const NVTRUST: &str = "NVIDIA/nvtrust/028173093d43dbf37364bdc39ad7e696bccbce2e";

/// Options of the command.
#[derive(Args, Debug)]
pub(crate) struct EvidenceArgs {
    /// Folder to fill; what is there already and is right stays
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// A mirror that has the files under the same paths: URL/OWNER/REPOSITORY/COMMIT/PATH
    #[arg(long, value_name = "URL", default_value = ORIGIN)]
    from: String,
}

/// A file of the corpus.
#[derive(Clone, Copy, Debug)]
struct File {
    name: &'static str,
    repository: &'static str,
    path: &'static str,
    sha256: &'static str,
}

const fn file(name: &'static str, repository: &'static str, path: &'static str, sha256: &'static str) -> File {
    File { name, repository, path, sha256 }
}

#[rustfmt::skip]
const FILES: [File; 28] = [
    file("snp/test-report.bin", TRUSTEE, "deps/verifier/test_data/snp/test-report.bin", "7c614616feb65823351fa42620ea260fb84fd22b2337a480ca0d5f04f363ca38"),
    file("snp/test-vcek.der", TRUSTEE, "deps/verifier/test_data/snp/test-vcek.der", "3430987528a9feebc90c1ba5cfac5849926ace82ae652a1bbf464d33bdc36d45"),
    file("snp/test-vlek-report.bin", TRUSTEE, "deps/verifier/test_data/snp/test-vlek-report.bin", "decdab949afc590668e45869b20f23e4afc7ac03c61201ab20208c6668a58a2d"),
    file("snp/test-vlek.der", TRUSTEE, "deps/verifier/test_data/snp/test-vlek.der", "296a7c99053efe4b1e480bb76d421fd24633d245f3e34708399a18a7713b7a7c"),
    file("snp/test-vcek-invalid-legacy.der", TRUSTEE, "deps/verifier/test_data/snp/test-vcek-invalid-legacy.der", "cee96955153de19a8c5af84d9d8c9452fa8d6bdfc2fb897972e43cc5051ccbf4"),
    file("snp/milan_ask_ark_asvk.pem", TRUSTEE, "deps/verifier/src/snp/milan_ask_ark_asvk.pem", "cc871f0d2294176386175d9b5b962e18556b15ec13f55f8698b5f7a07aebf0c7"),
    file("snp/genoa_ask_ark_asvk.pem", TRUSTEE, "deps/verifier/src/snp/genoa_ask_ark_asvk.pem", "7397ae50f4bac4699393121cf7ce9e72bac49f9f7b8c524be8df97e59ca151e3"),
    file("snp/turin_ask_ark_asvk.pem", TRUSTEE, "deps/verifier/src/snp/turin_ask_ark_asvk.pem", "34251ef16c414387e2bf36a69b675329156361e6e8113241209e46ebbd6da93f"),
    file("tdx/tdx_quote_4.dat", TRUSTEE, "deps/verifier/test_data/tdx_quote_4.dat", "12b401a88a51edb2d12cac4db0c6b8668a163960fbf848c16889a40955f946a9"),
    file("tdx/tdx_quote_5.dat", TRUSTEE, "deps/verifier/test_data/tdx_quote_5.dat", "586c2be0dc38d3c5653ecf91a0a482d8dbfaf3d3a0bcea2947bc2d321c8108a2"),
    file("tdx/tcbInfo.json", TRUSTEE, "deps/verifier/test_data/tcbInfo.json", "06c50be9bc9c042a45675bcba09ae381c61b5d3a017a41cb12e9312387e3898c"),
    file("tdx/enclaveIdentity.json", TRUSTEE, "deps/verifier/test_data/enclaveIdentity.json", "1ebffe572e3b77f5917be8e75dde4b66af13438e65f09fd5011a12b70f7e9a5d"),
    file("tdx/CCEL_data", TRUSTEE, "deps/verifier/test_data/CCEL_data", "d9cd052549c551fe7038a7fda7d7c8f7eefafbc747fd06140a4c9b3d2db009f5"),
    file("sgx/occlum_quote.dat", TRUSTEE, "deps/verifier/test_data/occlum_quote.dat", "77bcbdfa9c1abb98fd19d60f815b049d187e4e7495203a2e13aeac91fb9f9772"),
    file("nvidia/hopperAttestationReport.txt", TRUSTEE, "deps/verifier/test_data/nvidia/hopperAttestationReport.txt", "e84e0073010b540efa21e1ac3ce052746df57d8bb1d375be7c14f5db43807fcd"),
    file("nvidia/hopper_cert_chain_case1.txt", TRUSTEE, "deps/verifier/test_data/nvidia/hopper_cert_chain_case1.txt", "6a374ded27aaf208e76a211b539c4611f2d9a5774057703f21576c06d8bdf042"),
    file("nvidia/hopper_cert_chain_case2.txt", TRUSTEE, "deps/verifier/test_data/nvidia/hopper_cert_chain_case2.txt", "5f6ce25ce0374fff3d28b85812d1d902a0c2680e2e3c2aa36e67f7d83f1a543d"),
    file("nvidia/nvidia_device_root.pem", TRUSTEE, "deps/verifier/src/nvidia/nvidia_device_root.pem", "6e6e91e84068cb7de2c715ca73d6df168a16b23d96a895b42e553b297a471bfc"),
    file("nvidia/gh100_535.86.09_report.txt", SDK, "nv-attestation-sdk-cpp/unit-tests/testdata/sample_attestation_data/gpu/hopperAttestationReport.txt", "2b9616df9a77f2f32ef470028c030364e9fb734f465ca334d028527db4b509df"),
    file("nvidia/gh100_535.86.09_chain.txt", SDK, "nv-attestation-sdk-cpp/unit-tests/testdata/sample_attestation_data/gpu/hopperCertChain.txt", "a9073b181991e32accb2283f51e567a7b7ee4a532c3ebcc26fc5bdf6b5bdff07"),
    file("nvidia/gh100_invalid_signature_report.txt", SDK, "nv-attestation-sdk-cpp/unit-tests/testdata/sample_attestation_data/gpu/hopperAttestationReportInvalidSignature.txt", "06b83fb3e02c876e5b6a5c4e3de95da727803cbef701f5fd489fe6df0f66b638"),
    file("nvidia/ls10_report.txt", SDK, "nv-attestation-sdk-cpp/unit-tests/testdata/sample_attestation_data/switch/switchAttestationReport.txt", "5b9c9119f5a43218c8a3f40d5f01e995b3913e1c1277e7fd71c81b06b2bb2ac4"),
    file("nvidia/ls10_chain.txt", SDK, "nv-attestation-sdk-cpp/unit-tests/testdata/sample_attestation_data/switch/switchCertChain.txt", "05bb088ea4a394da9a5ceac022ce7b44bb513ad5af1c595702abb2a3eeb6d421"),
    file("nvidia/NV_SWITCH_BIOS_5612_0002_890_9610550001.xml", SDK, "nv-attestation-sdk-cpp/unit-tests/testdata/switchVBIOSRim_NV_SWITCH_BIOS_5612_0002_890_9610550001.xml", "c0f2e7f20da21da7287390c08c2641388595cd6929baaf0b5f728c4751a1f1d6"),
    file("nvidia/NV_GPU_DRIVER_GH100_550.144.03.xml", SDK, "nv-attestation-sdk-cpp/unit-tests/testdata/NV_GPU_DRIVER_GH100_550.144.03.xml", "585ccd55e3d9420d693f82f4a1aa0b7506f126ba2ab9344ec67e244fde0c6305"),
    file("nvidia/driver_rim_incorrect_signature.xml", SDK, "nv-attestation-sdk-cpp/unit-tests/testdata/incorrect_signature_driver_rim.xml", "4f894d00df1298e6fe0e59059fba4bfa8ff8666685c315ce3678b1342b13158f"),
    file("nvidia/rim_root.crt", SDK, "nv-attestation-sdk-cpp/unit-tests/testdata/trusted_certs/rim_root.crt", "afe8d01ab79b451fc6401a00bd8d3cba283e67339bd902e14bb41171eacb99d1"),
    file("nvidia/NV_GPU_VBIOS_1010_0200_882_96005E0001.swidtag", NVTRUST, "guest_tools/gpu_verifiers/local_gpu_verifier/src/verifier/samples/1010_0200_882_96005E0001_PROD.swidtag", "7e8ea28e7961a9ef83b87ca5c5685312014eae871977b720ae08553aa917bc50"),
];

/// The command.
pub(crate) fn run(args: &EvidenceArgs) -> Result<()> {
    let folder = match &args.to {
        Some(folder) => workspace::user_path(folder),
        None => Metadata::load()?.target_directory.join("evidence"),
    };
    let mut download = Download::default();
    fill(&folder, &FILES, &args.from, &mut |url, path| download.get(url, path))?;
    download.end();
    note!("evidence: all {} files are there; tests find them with", FILES.len());
    out!("export {VARIABLE}={}", folder.display());
    Ok(())
}

/// Fetches an address into a file. The inner error is the reason of the other side.
type Get<'a> = dyn FnMut(&str, &Path) -> Result<Result<(), String>> + 'a;

/// Makes sure that every file is in `folder`, with the content that its digest says.
fn fill(folder: &Path, files: &[File], from: &str, get: &mut Get<'_>) -> Result<()> {
    let from = from.trim_end_matches('/');
    let mut wrong = Vec::new();
    for (number, file) in (1..).zip(files) {
        proc::check_interrupt()?;
        let target = folder.join(file.name);
        if digest_of(&target).as_deref() == Some(file.sha256) {
            continue;
        }
        note!("evidence: {number} of {}, {}", files.len(), file.name);
        let parent = target.parent().unwrap_or(folder);
        fs::create_dir_all(parent).with_context(|| format!("create `{}`", parent.display()))?;
        // Under its own name only once it is known to be right.
        let partial = parent.join(format!(".{}.part", target.file_name().unwrap_or_default().to_string_lossy()));
        let url = format!("{from}/{}/{}", file.repository, file.path);
        if let Err(reason) = get(&url, &partial)? {
            let hint = "what was fetched so far stays; repeat the command to go on, or name a mirror with `--from`";
            return Err(unknown(&format!("`{url}` cannot be fetched: {reason}"), hint));
        }
        if digest_of(&partial).as_deref() == Some(file.sha256) {
            fs::rename(&partial, &target).with_context(|| format!("write `{}`", target.display()))?;
        } else {
            fs::remove_file(&partial).with_context(|| format!("remove `{}`", partial.display()))?;
            note!("warning: `{url}` is not the file that is pinned");
            wrong.push(file.name);
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    let hint = "the origin serves other content than at that commit: a proxy or mirror in between may have changed it";
    Err(negative(&format!("other content than pinned, and not taken: {}", wrong.join(", ")), hint))
}

/// SHA-256 of a file, in hex; nothing if it cannot be read or is too large to be one of the corpus.
fn digest_of(path: &Path) -> Option<String> {
    if fs::metadata(path).ok()?.len() > MAX_FILE {
        return None;
    }
    fs::read(path).ok().map(|content| hex::encode(Sha256::digest(content)))
}

/// The program that fetches, started when the first file is needed.
#[derive(Default)]
struct Download {
    running: Option<(Child, ChildStdin, BufReader<ChildStdout>)>,
}

impl Download {
    /// Fetches one file. The inner error is the reason of the other side.
    fn get(&mut self, url: &str, path: &Path) -> Result<Result<(), String>> {
        if self.running.is_none() {
            self.running = Some(start()?);
        }
        let (_, questions, answers) = self.running.as_mut().context("the downloader was just started")?;
        // A line of its own for each, words separated by spaces: neither may be in an address, and paths are escaped.
        let path = path.to_string_lossy();
        if url.contains([' ', '\n']) || path.contains([' ', '\n']) {
            return Err(negative("an address or a path has a space in it", "name another folder with `--to`"));
        }
        writeln!(questions, "{url} {path} {MAX_FILE}").context("ask the downloader")?;
        let mut line = String::new();
        answers.read_line(&mut line).context("hear from the downloader")?;
        proc::check_interrupt()?;
        Ok(match line.trim_end() {
            "ok" => Ok(()),
            "" => Err("the downloader ended".to_owned()),
            reason => Err(reason.trim_start_matches("error: ").to_owned()),
        })
    }

    /// Lets it end.
    fn end(self) {
        if let Some((mut child, questions, _)) = self.running {
            drop(questions);
            let _ = child.wait();
        }
    }
}

fn start() -> Result<(Child, ChildStdin, BufReader<ChildStdout>)> {
    let mut command = workspace::cargo();
    command.args(["run", "--quiet", "--package", "endorsements", "--example", "get"]);
    note!("evidence: building the downloader");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("start the downloader")?;
    let questions = child.stdin.take().context("the downloader's input")?;
    let answers = child.stdout.take().context("the downloader's output")?;
    Ok((child, questions, BufReader::new(answers)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tempfile::TempDir;

    use super::*;

    const A: File = file("x/a.bin", "o/r/c", "p/a", "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb");
    const B: File = file("x/b.bin", "o/r/c", "p/b", "3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d");

    /// Serves `a` and `b` as they are pinned, and remembers what it was asked for.
    fn origin(asked: &mut Vec<String>) -> impl FnMut(&str, &Path) -> Result<Result<(), String>> {
        |url, path| {
            asked.push(url.to_owned());
            fs::write(path, &url[url.len() - 1..])?;
            Ok(Ok(()))
        }
    }

    #[test]
    fn every_file_of_the_corpus_is_pinned_and_stays_in_its_folder() {
        let names: BTreeSet<&str> = FILES.iter().map(|file| file.name).collect();
        let digests: BTreeSet<&str> = FILES.iter().map(|file| file.sha256).collect();
        assert_eq!((names.len(), digests.len()), (FILES.len(), FILES.len()));
        for file in &FILES {
            assert_eq!(hex::decode(file.sha256).map(|digest| digest.len()), Ok(32), "{}", file.name);
            assert!(!file.name.starts_with('/') && !file.name.contains(".."), "{}", file.name);
            let commit = file.repository.rsplit('/').next().unwrap_or_default();
            assert_eq!(hex::decode(commit).map(|commit| commit.len()), Ok(20), "{}", file.name);
        }
    }

    #[test]
    fn what_is_missing_or_wrong_is_fetched_and_the_rest_is_not() {
        let folder = TempDir::new().expect("a folder");
        let target = |file: &File| folder.path().join(file.name);
        let mut asked = Vec::new();
        fill(folder.path(), &[A, B], "http://m/", &mut origin(&mut asked)).expect("fetched");
        assert_eq!(asked, ["http://m/o/r/c/p/a", "http://m/o/r/c/p/b"]);
        fs::write(target(&B), "half").expect("write");
        asked.clear();
        fill(folder.path(), &[A, B], "http://m", &mut origin(&mut asked)).expect("fetched");
        assert_eq!(asked, ["http://m/o/r/c/p/b"]);
        assert_eq!(fs::read(target(&B)).expect("read"), b"b");
        assert_eq!(fs::read_dir(folder.path().join("x")).expect("list").count(), 2, "nothing partial is left");
    }

    #[test]
    fn other_content_than_pinned_is_not_taken_and_is_a_negative_answer() {
        let folder = TempDir::new().expect("a folder");
        let wrong = File { sha256: B.sha256, ..A };
        let error = fill(folder.path(), &[wrong, B], "http://m", &mut origin(&mut Vec::new())).expect_err("refused");
        assert_eq!(error.to_string(), "other content than pinned, and not taken: x/a.bin");
        assert_eq!(crate::failure::report(&error), 1);
        let left = fs::read_dir(folder.path().join("x")).expect("list").count();
        assert_eq!(left, 1, "the other file is there, and nothing else");
    }

    #[test]
    fn an_origin_that_cannot_be_reached_is_not_a_negative_answer_and_what_was_fetched_stays() {
        let folder = TempDir::new().expect("a folder");
        let mut asked = Vec::new();
        let mut up = origin(&mut asked);
        let mut get =
            |url: &str, path: &Path| if url.ends_with('b') { Ok(Err("down".to_owned())) } else { up(url, path) };
        let error = fill(folder.path(), &[A, B], "http://m", &mut get).expect_err("unreachable");
        assert_eq!(error.to_string(), "`http://m/o/r/c/p/b` cannot be fetched: down");
        assert_eq!(crate::failure::report(&error), 2);
        assert!(folder.path().join(A.name).is_file());
    }

    #[test]
    #[ignore = "needs $CASEMATE_EVIDENCE"]
    fn corpus_files_are_those_that_are_pinned() {
        let folder = PathBuf::from(std::env::var_os(VARIABLE).expect("CASEMATE_EVIDENCE names the corpus"));
        for file in &FILES {
            assert_eq!(digest_of(&folder.join(file.name)).as_deref(), Some(file.sha256), "{}", file.name);
        }
    }
}
