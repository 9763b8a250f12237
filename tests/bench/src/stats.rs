//! Medians, and how far they can be trusted.

/// The value between the lower and the upper half; NaN of nothing.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    quantile(values, 0.5)
}

/// The value below which a share of the others lies, interpolated; NaN of nothing.
pub(crate) fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let Some(last) = values.len().checked_sub(1) else { return f64::NAN };
    let position = share.clamp(0.0, 1.0) * last as f64;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and the last index"
    )]
    let below = position.floor() as usize;
    let above = (below + 1).min(last);
    values[below] + (values[above] - values[below]) * (position - below as f64)
}

/// A value and the range in which it lies with 95 % confidence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Estimate {
    pub(crate) value: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

/// Samples drawn for a confidence range.
const RESAMPLES: usize = 2_000;

/// Estimates `statistic` of `rounds` rounds, given as the indices of the rounds to use.
///
/// The range is a percentile bootstrap: the statistic of as many rounds drawn from the rounds at hand, some
/// of them several times, over and over. It asks for no particular distribution of the noise, and what
/// disturbed a whole round disturbs all that is drawn with it.
pub(crate) fn estimate(rounds: usize, statistic: impl Fn(&[usize]) -> f64) -> Option<Estimate> {
    let all: Vec<usize> = (0..rounds).collect();
    if rounds == 0 {
        return None;
    }
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let mut drawn = vec![0; rounds];
    let mut values = Vec::with_capacity(RESAMPLES);
    for _ in 0..RESAMPLES {
        drawn.fill_with(|| random.below(rounds));
        values.push(statistic(&drawn));
    }
    let low = quantile(&mut values, 0.025);
    let high = quantile(&mut values, 0.975);
    Some(Estimate { value: statistic(&all), low, high })
}

/// The same numbers every time (xorshift64*), so that a report can be computed again from its values.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = (u128::from(self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)) * (limit as u128)) >> 64;
        usize::try_from(high).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_between_the_values() {
        let mut values = [4.0, 1.0, 3.0, 2.0];
        assert!((median(&mut values) - 2.5).abs() < 1e-9);
        assert!((quantile(&mut values, 0.25) - 1.75).abs() < 1e-9);
        assert!((quantile(&mut values, 1.0) - 4.0).abs() < 1e-9);
        assert!(median(&mut []).is_nan());
    }

    #[test]
    fn one_wild_round_does_not_move_the_median_out_of_its_range() {
        let values = [10.0, 11.0, 10.5, 10.2, 500.0, 10.7, 10.1, 10.9, 10.4];
        let of = |rounds: &[usize]| {
            let mut chosen: Vec<f64> = rounds.iter().map(|&round| values[round]).collect();
            median(&mut chosen)
        };
        let estimate = estimate(values.len(), of).expect("there are rounds");
        assert!((estimate.value - 10.5).abs() < 1e-9);
        assert!(estimate.low >= 10.0 && estimate.high <= 11.0, "{estimate:?}");
    }

    #[test]
    fn the_range_is_the_same_every_time_and_wider_with_more_noise() {
        let range = |noise: f64| {
            let of = |rounds: &[usize]| {
                let mut chosen: Vec<f64> =
                    rounds.iter().map(|&round| 100.0 + noise * (round * 7 % 5) as f64).collect();
                median(&mut chosen)
            };
            estimate(15, of).expect("there are rounds")
        };
        assert_eq!(range(1.0), range(1.0));
        let (little, much) = (range(1.0), range(10.0));
        assert!(much.high - much.low > little.high - little.low);
    }

    #[test]
    fn nothing_is_estimated_from_nothing() {
        assert_eq!(estimate(0, |_| 1.0), None);
    }
}
