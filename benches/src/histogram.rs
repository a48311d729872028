//! Latencies in buckets that are at most 1/32 wide: a fixed 15 KiB, two shifts to record one.

const SUB_BITS: u32 = 5;
const SUB: usize = 1 << SUB_BITS;

/// Counts of durations in nanoseconds.
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Histogram {
    /// An empty histogram.
    pub fn new() -> Self {
        Self { counts: vec![0; SUB * (64 - SUB_BITS as usize + 1)], total: 0 }
    }

    /// Records one duration.
    #[inline]
    pub fn record(&mut self, nanos: u64) {
        self.counts[bucket(nanos)] += 1;
        self.total += 1;
    }

    /// The quantile `part` (0 to 1) of what was recorded, as the middle of its bucket; `None` when nothing was recorded.
    pub fn quantile(&self, part: f64) -> Option<u64> {
        let rank = ((self.total as f64 * part).ceil() as u64).clamp(1, self.total.max(1));
        let mut seen = 0;
        self.counts
            .iter()
            .position(|count| {
                seen += count;
                seen >= rank
            })
            .map(middle)
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

fn bucket(nanos: u64) -> usize {
    let shift = (63 - (nanos | 1).leading_zeros()).saturating_sub(SUB_BITS);
    (shift as usize) * SUB + (nanos >> shift) as usize
}

fn middle(bucket: usize) -> u64 {
    if bucket < 2 * SUB {
        return bucket as u64;
    }
    let shift = bucket / SUB - 1;
    let low = (bucket - shift * SUB) as u64;
    (low << shift) + (1 << (shift - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_near_the_middle_of_its_bucket() {
        for nanos in (0..70).chain([100, 1_000, 12_345, 999_999, 1 << 40, u64::MAX]) {
            let middle = middle(bucket(nanos));
            assert!(middle.abs_diff(nanos) <= nanos / 32, "{nanos} became {middle}");
        }
        Histogram::new().record(u64::MAX);
    }

    #[test]
    fn quantiles_are_ranks() {
        let mut histogram = Histogram::new();
        assert_eq!(histogram.quantile(0.5), None);
        (1..=60).for_each(|nanos| histogram.record(nanos));
        assert_eq!(histogram.quantile(0.5), Some(30));
        assert_eq!(histogram.quantile(0.99), Some(60));
        assert_eq!(histogram.quantile(0.0), Some(1));
    }
}
