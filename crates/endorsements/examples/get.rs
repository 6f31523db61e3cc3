//! Fetches files for `cargo xtask evidence`, which stays small by not knowing HTTP: lines `URL PATH LIMIT` on standard
//! input, one line for each on standard output, `ok` or `error: …`. What it fetched is nobody's until a digest says so.

use std::io::{BufRead as _, Write as _};

use endorsements::{Limits, download};

fn main() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let mut words = line.split(' ');
        let (Some(url), Some(path), Some(Ok(limit))) = (words.next(), words.next(), words.next().map(str::parse))
        else {
            writeln!(std::io::stdout(), "error: no line of the form URL PATH LIMIT")?;
            continue;
        };
        match runtime.block_on(download(url, limit, Limits::default())) {
            Ok(bytes) => {
                std::fs::write(path, bytes)?;
                writeln!(std::io::stdout(), "ok")?;
            }
            Err(error) => writeln!(std::io::stdout(), "error: {error}")?,
        }
        std::io::stdout().flush()?;
    }
    Ok(())
}
