//! To come.
pub(crate) fn run(_workspace: std::path::PathBuf) -> std::process::ExitCode {
    std::process::ExitCode::FAILURE
}
