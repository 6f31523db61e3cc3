//! Clocks. Certificates, endorsements and leases have times in them, and a machine that is off by minutes rejects good
//! ones.

use super::prelude::*;

/// From here on people notice: a certificate that was just made is not valid yet.
const WARNING: u64 = 10;
/// From here on things fail.
const PROBLEM: u64 = 60;
/// Kubelets write a node's status every five minutes if nothing changes (`nodeStatusReportFrequency`), and every ten
/// seconds a lease. One that is this late and still ready has a clock that is behind.
const LATEST_HEARTBEAT: i64 = 15 * 60;

pub(super) fn check(bundle: &Bundle, out: &mut Findings) -> Result<(), Unknown> {
    let Some(clock) = bundle.cluster()?.clock else {
        let why = "it sent no date".to_owned();
        return Err(Unknown::NoAnswer { what: "the API server's clock".to_owned(), why });
    };
    let apart = clock.server.abs_diff(clock.local);
    // The header has whole seconds, and the answer took its time.
    let sure = apart.saturating_sub(1 + clock.milliseconds.div_ceil(1_000));
    if sure >= WARNING {
        let which = if clock.local > clock.server { "ahead of" } else { "behind" };
        let what = format!("This machine's clock is {apart} s {which} the API server's.");
        let subject = Subject::named("Clock", None, "");
        let finding = if sure >= PROBLEM { Finding::problem(subject, what) } else { Finding::warning(subject, what) };
        let why = "the API server's answer has its time in the header `Date`; the request took no longer than";
        out.push(
            finding
                .why(format!("{why} {} ms", clock.milliseconds))
                .mend("set this machine's clock, or the control plane's, by NTP")
                .run("timedatectl set-ntp true")
                .run("timedatectl status"),
        );
    }
    for node in bundle.list(Kind::Nodes)? {
        let Some(ready) = condition(node, "Ready").filter(|ready| text(ready, "/status") == "True") else { continue };
        let Some(beat) = seconds(text(ready, "/lastHeartbeatTime")) else { continue };
        let ahead = beat.saturating_sub(clock.server);
        let wrong = if ahead >= i64::try_from(PROBLEM).unwrap_or(i64::MAX) {
            format!("{ahead} s ahead of")
        } else if ahead <= -LATEST_HEARTBEAT {
            format!("{} s behind", ahead.unsigned_abs())
        } else {
            continue;
        };
        out.push(
            Finding::problem(Subject::of(Kind::Nodes, node), format!("The node's clock is {wrong} the API server's."))
                .why("it is ready, and the time of its last heartbeat is that far off")
                .mend("set the node's clock by NTP; guests take their clock from it")
                .run("timedatectl set-ntp true   # on the node"),
        );
    }
    Ok(())
}
