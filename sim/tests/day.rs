//! Tokens live for an hour, groups for as long as their members want.

#[test]
fn a_group_talks_for_a_day_and_renews_its_credentials() {
    let report = sim::run_day(false).unwrap();
    assert!(report.virtual_time.as_secs() > 24 * 3600);
    // 24 hours × 3 members, each within 50 minutes.
    assert!(report.sights["rejoins"] > 2 * 24, "{:?}", report.sights);
    assert_eq!(report.delivered, 206 * 2);
}
