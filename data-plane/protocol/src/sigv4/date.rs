//! The two forms of a request's date, and the seconds that they mean.

/// Seconds since 1970, as the date of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Seconds(pub(super) i64);

const DAY_SECONDS: i64 = 86_400;
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

impl Seconds {
    /// Reads `20260101T000000Z`, the form of `X-Amz-Date`.
    pub(super) fn parse_basic(text: &str) -> Option<Self> {
        let bytes: &[u8; 16] = text.as_bytes().try_into().ok()?;
        if bytes[8] != b'T' || bytes[15] != b'Z' {
            return None;
        }
        let date = (
            digits(&bytes[..4])?,
            digits(&bytes[4..6])?,
            digits(&bytes[6..8])?,
        );
        let time = (
            digits(&bytes[9..11])?,
            digits(&bytes[11..13])?,
            digits(&bytes[13..15])?,
        );
        Self::of(date, time)
    }

    /// Reads either that or `Thu, 01 Jan 2026 00:00:00 GMT`, the form of the header `Date`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        Self::parse_basic(text).or_else(|| Self::parse_http(text))
    }

    fn parse_http(text: &str) -> Option<Self> {
        let (_weekday, rest) = text.split_once(", ")?;
        let mut parts = rest.split(' ');
        let day = digits(parts.next()?.as_bytes())?;
        let name = parts.next()?;
        let month = MONTHS.iter().position(|month| *month == name)?;
        let year = digits(parts.next()?.as_bytes())?;
        let mut clock = parts.next()?.split(':');
        let mut next = || digits(clock.next()?.as_bytes());
        let time = (next()?, next()?, next()?);
        let zone = matches!(parts.next(), Some("GMT" | "UTC" | "-0000" | "+0000"));
        if !zone || clock.next().is_some() || parts.next().is_some() {
            return None;
        }
        Self::of((year, i64::try_from(month).ok()? + 1, day), time)
    }

    fn of((year, month, day): (i64, i64, i64), (h, m, s): (i64, i64, i64)) -> Option<Self> {
        let valid = (1..=12).contains(&month)
            && (1..=days_of_month(year, month)).contains(&day)
            && h < 24
            && m < 60
            && s <= 60;
        let seconds = days_before(year, month, day) * DAY_SECONDS + h * 3600 + m * 60 + s;
        valid.then_some(Self(seconds))
    }

    /// `20260101T000000Z`.
    pub(super) fn basic(self) -> String {
        let (year, month, day) = civil(self.0.div_euclid(DAY_SECONDS));
        let second = self.0.rem_euclid(DAY_SECONDS);
        let (h, m, s) = (second / 3600, second / 60 % 60, second % 60);
        format!("{year:04}{month:02}{day:02}T{h:02}{m:02}{s:02}Z")
    }
}

fn digits(bytes: &[u8]) -> Option<i64> {
    let all = (1..=4).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_digit);
    all.then(|| bytes.iter().fold(0, |n, b| n * 10 + i64::from(b - b'0')))
}

fn days_of_month(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a day of the Gregorian calendar. Years begin in March here, so that the
/// odd day of a leap year is the last of its year.
fn days_before(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The day of the calendar, `days` after 1970-01-01.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn both_forms_mean_the_same_second() {
        for (basic, http, seconds) in [
            ("19700101T000000Z", "Thu, 01 Jan 1970 00:00:00 GMT", 0),
            (
                "20150830T123600Z",
                "Sun, 30 Aug 2015 12:36:00 GMT",
                1_440_938_160,
            ),
            (
                "20240229T235959Z",
                "Thu, 29 Feb 2024 23:59:59 -0000",
                1_709_251_199,
            ),
            (
                "20261122T112000Z",
                "Sun, 22 Nov 2026 11:20:00 UTC",
                1_795_346_400,
            ),
        ] {
            assert_eq!(Seconds::parse(basic), Some(Seconds(seconds)), "{basic}");
            assert_eq!(Seconds::parse(http), Some(Seconds(seconds)), "{http}");
            assert_eq!(Seconds::parse_basic(http), None);
            assert_eq!(Seconds(seconds).basic(), basic);
        }
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for bad in [
            "",
            "d",
            "201",
            "20260101",
            "20260101T000000",
            "20260101t000000Z",
            "20261301T000000Z",
            "20260230T000000Z",
            "20250229T000000Z",
            "20260100T000000Z",
            "20260101T240000Z",
            "20260101T006000Z",
            "2026-01-01T00:00:00Z",
            "2026010१T00000Z",
            "Thu, 01 Jan 2026 00:00:00 CET",
            "Thu, 01 January 2026 00:00:00 GMT",
            "Thu, 01 Jan 2026 00:00:00 GMT x",
            "Thu, 01 Jan 2026 00:00 GMT",
            "Thu, 01 Jan 99999 00:00:00 GMT",
        ] {
            assert_eq!(Seconds::parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn every_second_comes_back(seconds in 0_i64..253_402_300_800) {
            prop_assert_eq!(Seconds::parse(&Seconds(seconds).basic()), Some(Seconds(seconds)));
        }

        #[test]
        fn any_text_is_a_date_or_none(text: String) {
            let _unused = Seconds::parse(&text);
        }
    }
}
