//! Certificates that end.

use super::prelude::*;

const DAY: i64 = 24 * 60 * 60;
/// A month is time enough to act in working hours.
const SOON: i64 = 30 * DAY;

pub(super) fn check(bundle: &Bundle, out: &mut Findings) -> Result<(), Unknown> {
    if bundle.certificates.is_empty() {
        return Err(Unknown::NotAsked { what: "a kubeconfig with certificates, or `verify/`" });
    }
    // Our own clock may be what is wrong.
    let now = bundle.cluster().ok().and_then(|cluster| cluster.clock).map_or(bundle.taken, |clock| clock.server);
    for certificate in &bundle.certificates {
        let what = quote(&certificate.what);
        let ends = match &certificate.ends {
            Answer::Known(ends) => *ends,
            Answer::Unknown(why) => {
                out.unknown(Unknown::NoAnswer { what, why: why.clone() });
                continue;
            }
        };
        let left = ends.saturating_sub(now);
        if left > SOON {
            continue;
        }
        let subject = Subject::named("Certificate", None, "");
        let days = left / DAY;
        let finding = if left <= 0 {
            Finding::problem(subject, format!("{what} ended {} days ago.", days.unsigned_abs()))
        } else {
            Finding::warning(subject, format!("{what} ends in {days} days."))
        };
        out.push(finding.why(format!("its last second is {}", date(ends))).mend(quote(&certificate.renewal)));
    }
    Ok(())
}

fn date(seconds: i64) -> String {
    k8s_openapi::jiff::Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |time| time.to_string())
}
