//! Values that travel between the conductor and workers in other processes, where their own serialisation is not enough.
//!
//! A histogram is written as its buckets that are not empty, each by a value that falls into it and its count. All are made
//! by [`histogram`](super::stats::histogram), so what is read back has the same buckets: merging loses nothing.

/// One histogram: `[value, count, value, count, ...]`.
pub(super) mod one {
    use super::super::stats::histogram;
    use hdrhistogram::Histogram;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(in super::super) fn serialize<S: Serializer>(value: &Histogram<u64>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(buckets(value))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Histogram<u64>, D::Error> {
        Ok(from_buckets(&Vec::deserialize(deserializer)?))
    }

    pub(super) fn buckets(histogram: &Histogram<u64>) -> Vec<u64> {
        histogram.iter_recorded().flat_map(|step| [step.value_iterated_to(), step.count_at_value()]).collect()
    }

    pub(super) fn from_buckets(buckets: &[u64]) -> Histogram<u64> {
        let mut histogram = histogram();
        for bucket in buckets.as_chunks::<2>().0 {
            histogram.saturating_record_n(bucket[0], bucket[1]);
        }
        histogram
    }
}

/// Histograms of several actions.
pub(super) mod many {
    use super::one::{buckets, from_buckets};
    use hdrhistogram::Histogram;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(in super::super) fn serialize<S: Serializer>(
        value: &[Histogram<u64>],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(value.iter().map(buckets))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<Histogram<u64>>, D::Error> {
        Ok(Vec::<Vec<u64>>::deserialize(deserializer)?.iter().map(|buckets| from_buckets(buckets)).collect())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::stats::{Stats, record_ns};

    #[test]
    fn what_is_read_back_equals_what_was_written() {
        let mut random = fastrand::Rng::with_seed(4);
        let mut stats = Stats::new(2);
        stats.counts.sent = u64::MAX;
        for _ in 0..10_000 {
            // From a microsecond to hours, beyond the greatest value too.
            let ns = 1u64 << random.u32(0..44);
            record_ns(&mut stats.latency[random.usize(..2)], ns + random.u64(..ns));
            record_ns(&mut stats.lag, ns);
        }
        let again: Stats = serde_json::from_str(&serde_json::to_string(&stats).unwrap()).unwrap();
        assert_eq!(again.latency, stats.latency);
        assert_eq!((&again.lag, &again.connect), (&stats.lag, &stats.connect));
        assert_eq!(again.counts, stats.counts);
        assert_eq!((again.lag.max(), again.lag.min()), (stats.lag.max(), stats.lag.min()));
        assert!(again.lag.stdev() == stats.lag.stdev());
    }
}
