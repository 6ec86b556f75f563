//! Dialogues with a redialer, in virtual time.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// A redialer and the time.
struct Dialogue {
    redialer: Redialer,
    now: Now,
}

impl Dialogue {
    /// The first dial is under way.
    fn start(policy: RedialPolicy) -> Self {
        let mut dialogue = Self {
            redialer: Redialer::new(policy, [7; 32]),
            now: Now::default(),
        };
        dialogue.expect(Some(RedialOutput::Dial));
        dialogue
    }

    /// The first link is in use.
    fn start_with_link(policy: RedialPolicy) -> Self {
        let mut dialogue = Self::start(policy);
        dialogue.open();
        dialogue
    }

    fn open(&mut self) {
        self.redialer.handle_opened(self.now);
        self.expect(None);
        assert_eq!(self.redialer.poll_timeout(), None);
    }

    fn fail(&mut self, failure: Failure) {
        self.redialer.handle_dial_failed(self.now, failure);
    }

    /// Lets time go on until the next dial; returns how long that took.
    fn until_dial(&mut self) -> Duration {
        self.expect(None);
        let due = self.redialer.poll_timeout().expect("a dial is planned");
        let before = self.now.mono;
        if due > before {
            self.now.mono = due - Duration::from_nanos(1);
            self.redialer.handle_timeout(self.now);
            self.expect(None);
            self.now.mono = due;
        }
        self.redialer.handle_timeout(self.now);
        self.expect(Some(RedialOutput::Dial));
        assert_eq!(self.redialer.poll_timeout(), None);
        self.now.mono.saturating_since(before)
    }

    fn pass(&mut self, time: Duration) {
        self.now.mono = self.now.mono + time;
    }

    fn expect(&mut self, output: Option<RedialOutput>) {
        assert_eq!(self.redialer.poll_output(), output);
        assert_eq!(self.redialer.poll_output(), None);
    }

    fn expect_end(&mut self, attempts: u32) {
        self.expect(Some(RedialOutput::GiveUp { attempts }));
        assert_eq!(self.redialer.poll_timeout(), None);
        self.pass(Duration::from_secs(3600));
        self.redialer.handle_timeout(self.now);
        self.expect(None);
    }
}

fn alike(pauses: Pauses, attempts_max: Option<u32>) -> RedialPolicy {
    RedialPolicy {
        eager: pauses.clone(),
        patient: pauses,
        attempts_max,
    }
}

fn fixed(pause: Duration, attempts_max: Option<u32>) -> RedialPolicy {
    alike(Pauses::Fixed(pause), attempts_max)
}

fn doubling(jitter: bool) -> Pauses {
    Pauses::Exponential {
        base: Duration::from_millis(100),
        factor: 2,
        longest: SECOND,
        jitter,
    }
}

#[test]
fn a_fixed_policy_pauses_equally_and_ends() {
    let mut dialogue = Dialogue::start(fixed(SECOND, Some(3)));
    for _ in 1..3 {
        dialogue.fail(Failure::Passing);
        assert_eq!(dialogue.until_dial(), SECOND);
    }
    dialogue.fail(Failure::Passing);
    dialogue.expect_end(3);

    let mut once = Dialogue::start(fixed(Duration::ZERO, Some(1)));
    once.fail(Failure::Passing);
    once.expect_end(1);

    let mut forever = Dialogue::start(fixed(2 * SECOND, None));
    (forever.redialer.attempts, forever.redialer.failures) = (u32::MAX, u32::MAX);
    forever.fail(Failure::Passing);
    assert_eq!(forever.until_dial(), 2 * SECOND);
}

#[test]
fn an_exponential_policy_doubles_up_to_its_limit_and_jitters_in_the_upper_half() {
    let mut dialogue = Dialogue::start(alike(doubling(false), Some(100)));
    let mut pauses = Vec::new();
    for _ in 1..100 {
        dialogue.fail(Failure::Passing);
        pauses.push(dialogue.until_dial().as_millis());
    }
    assert_eq!(pauses[..4], [200, 400, 800, 1000]);
    assert!(pauses[3..].iter().all(|pause| *pause == 1000));
    dialogue.fail(Failure::Passing);
    dialogue.expect_end(100);
    for random in [0, 1, 12_345_678_901, u64::MAX] {
        let pause = doubling(true).after(1, random).as_millis();
        assert!((100..200).contains(&pause), "{pause}");
    }
}

#[test]
fn a_link_that_is_to_leave_is_replaced_after_a_short_pause() {
    let mut dialogue = Dialogue::start_with_link(fixed(60 * SECOND, None));
    dialogue.pass(5 * SECOND);
    dialogue.redialer.handle_leaving(dialogue.now);
    let pause = dialogue.until_dial();
    assert!(
        pause >= Duration::from_millis(50) && pause < Duration::from_millis(100),
        "{pause:?}"
    );
    assert!(dialogue.redialer.has_link());
    dialogue.open();
    assert!(dialogue.redialer.has_link());
    // The successor leaves in its turn, after a first pause of its own.
    dialogue.redialer.handle_leaving(dialogue.now);
    let pause = dialogue.until_dial();
    assert!(pause < Duration::from_millis(100), "{pause:?}");
}

#[test]
fn a_link_in_use_is_never_given_up_because_its_successor_was_refused() {
    let mut dialogue = Dialogue::start_with_link(fixed(SECOND, Some(1)));
    dialogue.redialer.handle_leaving(dialogue.now);
    dialogue.until_dial();
    for failure in [Failure::Final, Failure::Refused, Failure::Passing].repeat(20) {
        dialogue.fail(failure);
        assert!(dialogue.redialer.has_link());
        assert!(dialogue.until_dial() <= 10 * SECOND);
    }
    // The pauses have grown, and nothing was counted against the link.
    dialogue.fail(Failure::Final);
    assert!(dialogue.until_dial() >= 5 * SECOND);
    assert_eq!(dialogue.redialer.attempts(), 0);
    dialogue.open();
    // The refusal of a dial that stands for no link in use ends it as ever.
    dialogue.redialer.handle_lost(dialogue.now, Failure::Passing);
    dialogue.until_dial();
    dialogue.fail(Failure::Final);
    dialogue.expect_end(1);
}

#[test]
fn a_link_that_is_lost_while_its_successor_is_dialled_gets_that_one() {
    let mut dialogue = Dialogue::start_with_link(fixed(60 * SECOND, Some(2)));
    dialogue.redialer.handle_leaving(dialogue.now);
    dialogue.until_dial();
    dialogue.redialer.handle_lost(dialogue.now, Failure::Passing);
    assert!(!dialogue.redialer.has_link());
    dialogue.expect(None);
    assert_eq!(dialogue.redialer.poll_timeout(), None);
    dialogue.open();
    assert!(dialogue.redialer.has_link());
    // If it fails, it failed as any other, under the policy.
    dialogue.redialer.handle_leaving(dialogue.now);
    dialogue.until_dial();
    dialogue.redialer.handle_lost(dialogue.now, Failure::Passing);
    dialogue.fail(Failure::Passing);
    assert_eq!(dialogue.until_dial(), 60 * SECOND);
    dialogue.fail(Failure::Passing);
    dialogue.expect_end(2);
}

#[test]
fn a_link_that_is_lost_before_its_successor_is_dialled_is_dialled_by_the_policy() {
    let mut dialogue = Dialogue::start_with_link(fixed(60 * SECOND, None));
    dialogue.redialer.handle_leaving(dialogue.now);
    dialogue.redialer.handle_lost(dialogue.now, Failure::Passing);
    assert_eq!(dialogue.until_dial(), 60 * SECOND);
}

#[test]
fn links_that_are_lost_young_lengthen_the_pauses_a_little_and_stable_ones_begin_anew() {
    let mut dialogue = Dialogue::start(alike(doubling(false), Some(2)));
    // Links are no failed attempts: the limit is never reached.
    let pauses: Vec<u128> = (0..6)
        .map(|_| {
            dialogue.open();
            dialogue.pass(STABLE - Duration::from_nanos(1));
            dialogue.redialer.handle_lost(dialogue.now, Failure::Passing);
            dialogue.until_dial().as_millis()
        })
        .collect();
    assert_eq!(pauses, [200, 400, 800, 1000, 1000, 1000]);
    dialogue.fail(Failure::Passing);
    assert_eq!(dialogue.redialer.attempts(), 1);
    dialogue.until_dial();
    dialogue.open();
    dialogue.pass(STABLE);
    dialogue.redialer.handle_lost(dialogue.now, Failure::Passing);
    assert_eq!(dialogue.until_dial().as_millis(), 200);

    let millisecond = Pauses::Exponential {
        base: Duration::from_millis(1),
        factor: 1,
        longest: 60 * SECOND,
        jitter: false,
    };
    let mut dialogue = Dialogue::start(alike(millisecond, None));
    for _ in 0..12 {
        dialogue.fail(Failure::Passing);
        dialogue.until_dial();
    }
    // However often it could not be reached before: now it was.
    dialogue.open();
    dialogue.redialer.handle_lost(dialogue.now, Failure::Passing);
    assert_eq!(dialogue.until_dial().as_millis(), 8);
}

#[test]
fn a_refusal_is_followed_by_a_long_pause_and_counts_as_no_attempt() {
    let mut dialogue = Dialogue::start(fixed(SECOND, Some(2)));
    dialogue.fail(Failure::Passing);
    for _ in 0..5 {
        dialogue.until_dial();
        dialogue.fail(Failure::Refused);
    }
    assert_eq!(dialogue.until_dial(), REFUSED_PAUSE);
    dialogue.fail(Failure::Passing);
    assert_eq!(dialogue.until_dial(), SECOND);
    dialogue.fail(Failure::Passing);
    dialogue.expect_end(2);
}

#[test]
fn a_link_that_ends_for_good_is_not_dialled_again_even_if_its_successor_was_being_dialled() {
    let mut dialogue = Dialogue::start_with_link(fixed(SECOND, None));
    dialogue.redialer.handle_lost(dialogue.now, Failure::Final);
    dialogue.expect_end(0);

    let mut dialogue = Dialogue::start_with_link(fixed(SECOND, None));
    dialogue.redialer.handle_leaving(dialogue.now);
    dialogue.until_dial();
    dialogue.redialer.handle_lost(dialogue.now, Failure::Final);
    dialogue.expect_end(0);
}

#[test]
fn who_begins_to_wait_shortens_the_pause_and_never_lengthens_it() {
    let policy = |patient| RedialPolicy {
        eager: Pauses::Fixed(SECOND),
        patient: Pauses::Fixed(patient),
        attempts_max: None,
    };
    let mut dialogue = Dialogue::start(policy(10 * SECOND));
    dialogue.redialer.set_pace(Pace::Patient);
    dialogue.fail(Failure::Passing);
    dialogue.pass(SECOND / 4);
    dialogue.redialer.set_pace(Pace::Eager);
    assert_eq!(dialogue.until_dial(), SECOND * 3 / 4);
    dialogue.redialer.set_pace(Pace::Patient);
    dialogue.fail(Failure::Passing);
    dialogue.pass(5 * SECOND);
    dialogue.redialer.set_pace(Pace::Eager);
    assert_eq!(dialogue.until_dial(), Duration::ZERO);
    // The last one who waited goes.
    dialogue.fail(Failure::Passing);
    dialogue.redialer.set_pace(Pace::Patient);
    assert_eq!(dialogue.until_dial(), 10 * SECOND);

    let mut dialogue = Dialogue::start(policy(SECOND / 10));
    dialogue.redialer.set_pace(Pace::Patient);
    dialogue.fail(Failure::Passing);
    dialogue.redialer.set_pace(Pace::Eager);
    assert_eq!(dialogue.until_dial(), SECOND / 10);
}
