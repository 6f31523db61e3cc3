//! The seed of a deployment and its Shamir shares.
//!
//! The seed is 32 random bytes, made when the first manifest is set, never written anywhere, and split over GF(2^8) so
//! that a threshold of holders can rebuild it and fewer learn nothing. Everything else is derived: [`KeySchedule`].

mod schedule;

use std::collections::BTreeSet;

use blahaj::{Share, Sharks};
use protocol::{DeploymentId, Digest, Secret};

pub use self::schedule::{KeySchedule, SealError, StoreKey};
use crate::CryptoFailure;

/// 256 bits: as strong as the primitives that it feeds.
const SEED: usize = 32;
/// The holder's point, then one byte for each of the seed.
const SHARE: usize = SEED + 1;

/// The seed. No way to print or clone it.
pub struct Seed(Secret);

impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seed")
    }
}

/// Shares that cannot be made or do not fit together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShareError {
    /// A threshold that cannot be met or shared out.
    #[error(
        "{shares} shares with a threshold of {threshold} cannot be made: from 1 to 255 shares, threshold at most that"
    )]
    Threshold {
        /// The threshold.
        threshold: u32,
        /// How many shares there are to be.
        shares: usize,
    },
    /// Bytes that are no share of ours.
    #[error("share {index} is not {SHARE} bytes that begin with a point other than 0")]
    Malformed {
        /// Its place among the shares, from 0.
        index: usize,
    },
    /// The same point twice: adds nothing, and interpolation would divide by zero.
    #[error("share {index} repeats another")]
    Repeated {
        /// Its place among the shares, from 0.
        index: usize,
    },
    /// Fewer shares than the threshold.
    #[error("{got} of {threshold} needed shares")]
    TooFew {
        /// Shares given.
        got: usize,
        /// Shares needed.
        threshold: u32,
    },
}

impl Seed {
    /// A new random seed.
    pub fn generate() -> Result<Self, CryptoFailure> {
        let bytes = zeroize::Zeroizing::new(crate::random::<SEED>()?);
        Ok(Self(Secret::new(bytes.to_vec())))
    }

    /// Splits the seed into `shares` shares, any `threshold` of which rebuild it.
    pub fn split(&self, threshold: u32, shares: usize) -> Result<Vec<Secret>, ShareError> {
        let impossible = ShareError::Threshold { threshold, shares };
        let points = u8::try_from(shares).map_err(|_| impossible)?;
        let small = u8::try_from(threshold).map_err(|_| impossible)?;
        if small == 0 || small > points {
            return Err(impossible);
        }
        Ok(Sharks(small).dealer(self.0.expose()).take(shares).map(|share| Secret::new(Vec::from(&share))).collect())
    }

    /// Rebuilds a seed. With a wrong share among them the result is a wrong seed, and nothing here can tell: the
    /// caller compares what is derived from it with what it knows.
    pub fn combine(threshold: u32, shares: &[Secret]) -> Result<Self, ShareError> {
        let impossible = ShareError::Threshold { threshold, shares: shares.len() };
        let small = u8::try_from(threshold).map_err(|_| impossible)?;
        if small == 0 {
            return Err(impossible);
        }
        let mut points = BTreeSet::new();
        let mut parsed = Vec::with_capacity(shares.len());
        for (index, share) in shares.iter().enumerate() {
            let point = check_share(share).ok_or(ShareError::Malformed { index })?;
            if !points.insert(point) {
                return Err(ShareError::Repeated { index });
            }
            parsed.push(Share::try_from(share.expose()).map_err(|_| ShareError::Malformed { index })?);
        }
        if points.len() < usize::from(small) {
            return Err(ShareError::TooFew { got: points.len(), threshold });
        }
        let bytes = Sharks(small).recover(&parsed).map_err(|_| ShareError::TooFew { got: parsed.len(), threshold })?;
        Ok(Self(Secret::new(bytes)))
    }

    fn expose(&self) -> &[u8] {
        self.0.expose()
    }
}

/// The point of a share that has the right shape. Point 0 is refused: its value is the seed itself.
fn check_share(share: &Secret) -> Option<u8> {
    let bytes = share.expose();
    let point = *bytes.first()?;
    (bytes.len() == SHARE && point != 0).then_some(point)
}

/// A fingerprint of a share, by which a junk share is told from the one that a holder was given, before all are
/// together. It can be stored in the clear: a share is as unguessable as the seed.
pub fn share_fingerprint(deployment: DeploymentId, holder: Digest, share: &Secret) -> Digest {
    Digest::of_fields(&[b"casemate seed share 1", deployment.as_bytes(), holder.as_bytes(), share.expose()])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pick(shares: &[Secret], indices: &[usize]) -> Vec<Secret> {
        indices.iter().map(|&index| shares[index].clone()).collect()
    }

    #[test]
    fn every_threshold_of_shares_rebuilds_the_seed() {
        let seed = Seed::generate().unwrap();
        let shares = seed.split(3, 5).unwrap();
        for a in 0..5 {
            for b in 0..5 {
                for c in 0..5 {
                    if a != b && b != c && a != c {
                        let rebuilt = Seed::combine(3, &pick(&shares, &[a, b, c])).unwrap();
                        assert_eq!(rebuilt.expose(), seed.expose());
                    }
                }
            }
        }
        assert_eq!(Seed::combine(3, &shares).unwrap().expose(), seed.expose());
        for (threshold, count) in [(1, 1), (1, 3), (255, 255), (2, 255)] {
            let shares = seed.split(threshold, count).unwrap();
            assert_eq!(shares.len(), count);
            assert_eq!(Seed::combine(threshold, &shares).unwrap().expose(), seed.expose());
        }
    }

    #[test]
    fn two_splits_of_one_seed_do_not_mix() {
        let seed = Seed::generate().unwrap();
        let (first, second) = (seed.split(2, 2).unwrap(), seed.split(2, 2).unwrap());
        let mixed = [first[0].clone(), second[1].clone()];
        assert_ne!(Seed::combine(2, &mixed).unwrap().expose(), seed.expose());
    }

    #[test]
    fn thresholds_without_meaning_are_refused() {
        let seed = Seed::generate().unwrap();
        for (threshold, shares) in [(0, 1), (2, 1), (1, 0), (1, 256), (256, 256), (u32::MAX, 255)] {
            assert_eq!(seed.split(threshold, shares).unwrap_err(), ShareError::Threshold { threshold, shares });
        }
        assert!(matches!(Seed::combine(0, &[]), Err(ShareError::Threshold { .. })));
        assert!(matches!(Seed::combine(256, &[]), Err(ShareError::Threshold { .. })));
    }

    #[test]
    fn shares_that_do_not_fit_are_refused() {
        let shares = Seed::generate().unwrap().split(2, 3).unwrap();
        let check = |shares: &[Secret], expected| assert_eq!(Seed::combine(2, shares).unwrap_err(), expected);
        check(&[], ShareError::TooFew { got: 0, threshold: 2 });
        check(&shares[..1], ShareError::TooFew { got: 1, threshold: 2 });
        check(&pick(&shares, &[0, 0]), ShareError::Repeated { index: 1 });
        let mut same_point = shares[1].expose().to_vec();
        same_point[0] = shares[0].expose()[0];
        check(&[shares[0].clone(), Secret::new(same_point)], ShareError::Repeated { index: 1 });
        for bytes in [vec![], vec![1], vec![1; 32], vec![1; 34], vec![0; 33]] {
            check(&[shares[0].clone(), Secret::new(bytes)], ShareError::Malformed { index: 1 });
        }
    }

    #[test]
    fn a_wrong_share_gives_a_wrong_seed_and_another_fingerprint() {
        let deployment = DeploymentId::from_bytes([1; 16]);
        let holder = Digest::of(b"holder");
        let seed = Seed::generate().unwrap();
        let mut shares = seed.split(2, 2).unwrap();
        let before = share_fingerprint(deployment, holder, &shares[1]);
        let mut wrong = shares[1].expose().to_vec();
        wrong[32] ^= 1;
        shares[1] = Secret::new(wrong);
        assert_ne!(Seed::combine(2, &shares).unwrap().expose(), seed.expose());
        assert_ne!(share_fingerprint(deployment, holder, &shares[1]), before);
    }

    #[test]
    fn debug_output_holds_no_seed() {
        assert_eq!(format!("{:?}", Seed::generate().unwrap()), "Seed");
    }
}
