//! The files of a spool: when one follows another, which may go, and how large they may become.

use super::*;

const SIZES: Sizes = Sizes { segment_bytes_max: 1000, bytes_max: 3000 };

fn writer(dir: &Path) -> Writer {
    Writer::open(dir, SIZES, SyncMode::Interval, 7, Position::default()).expect("open")
}

#[test]
fn a_full_file_is_followed_by_another() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut writer = writer(dir.path());

    for _ in 0..3 {
        writer.append(&[1; 600], 1).expect("append");
    }

    assert_eq!(writer.files.from(0), Some((1, 616)));
    assert_eq!(writer.files.from(2), Some((2, 616)));
    assert_eq!(writer.files.from(3), Some((3, 616)));
    assert_eq!(writer.files.bytes(), 3 * 616);
    assert_eq!(fs::metadata(writer.files.path(2)).expect("a file").len(), 616);
}

#[test]
fn a_file_is_closed_by_its_age_if_it_has_clicks() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut writer = writer(dir.path());
    writer.begin_segment().expect("begin");

    assert!(!writer.close_if_older(Duration::ZERO));
    writer.append(&[1; 100], 1).expect("append");
    assert!(!writer.close_if_older(Duration::from_secs(3600)));
    assert!(writer.close_if_older(Duration::ZERO));
    writer.append(&[1; 100], 1).expect("append");

    assert_eq!(writer.files.from(2), Some((2, 116)));
}

#[test]
fn the_limit_is_kept_until_a_file_is_gone() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut writer = writer(dir.path());
    for _ in 0..4 {
        writer.append(&[1; 600], 1).expect("append");
    }
    assert!(writer.is_crowded());

    assert!(matches!(writer.append(&[1; 600], 1), Err(AppendError::Full)));
    writer.forget(1);

    writer.append(&[1; 600], 1).expect("append");
}

#[test]
fn whether_there_is_room_again_is_found_out_without_a_click_and_leaves_no_trace() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut writer = writer(dir.path());
    for _ in 0..4 {
        writer.append(&[1; 600], 1).expect("append");
    }
    assert!(matches!(writer.append(&[1; 600], 1), Err(AppendError::Full)));

    // there would be room for less
    assert!(matches!(writer.try_again(), Err(AppendError::Full)));
    writer.forget(1);
    writer.try_again().expect("room");
    let active = writer.files.last().expect("a file");
    let counted = writer.files.from(active);
    writer.try_again().expect("room");
    writer.close();

    assert_eq!(writer.files.from(active), counted);
    let length = fs::metadata(writer.files.path(active)).expect("a file").len();
    assert_eq!(Some((active, length)), counted);
}

#[test]
fn the_growing_file_is_not_among_those_that_may_go() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut writer = writer(dir.path());
    writer.append(&[1; 900], 1).expect("append");
    writer.append(&[1; 900], 1).expect("append");

    writer.files.note_shipped(Position { segment: 2, offset: 916 });

    assert_eq!(writer.shipped().collect::<Vec<_>>(), [(1, 916)]);
    writer.close_if_older(Duration::ZERO);
    assert_eq!(writer.shipped().count(), 2);
}

#[test]
fn what_an_earlier_process_wrote_is_counted_and_not_appended_to() {
    let dir = tempfile::tempdir().expect("a directory");
    writer(dir.path()).append(&[1; 100], 1).expect("append");

    let mut writer = writer(dir.path());
    writer.append(&[1; 50], 1).expect("append");

    assert_eq!(writer.files.from(0), Some((1, 116)));
    assert_eq!(writer.files.from(2), Some((2, 66)));
}

#[test]
fn a_number_that_the_cursor_has_passed_is_not_used_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let shipped = Position { segment: 40, offset: 16 };

    let mut writer = Writer::open(dir.path(), SIZES, SyncMode::Interval, 7, shipped).expect("open");
    writer.begin_segment().expect("begin");

    assert_eq!(writer.files.from(0), Some((41, 16)));
}

/// Files of a directory that this process has open, and the directory itself.
fn open_in(dir: &Path) -> usize {
    let handles = fs::read_dir("/proc/self/fd").expect("the handles of this process");
    let links = handles.filter_map(|handle| fs::read_link(handle.ok()?.path()).ok());
    links.filter(|path| path.starts_with(dir)).count()
}

#[test]
fn when_nobody_flushes_no_file_is_kept_open_for_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let sizes = Sizes { bytes_max: u64::MAX, ..SIZES };
    let mut writer = Writer::open(dir.path(), sizes, SyncMode::Os, 7, Position::default()).expect("open");

    let mut open = Vec::new();
    for _ in 0..50 {
        writer.append(&[1; 900], 1).expect("append");
        open.push((writer.unsynced.len(), open_in(dir.path())));
    }

    assert_eq!(writer.files.last(), Some(50));
    assert!(open.iter().all(|count| *count == open[0]), "{open:?}");
}

#[test]
fn a_file_that_goes_before_it_is_flushed_is_not_kept_open() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut writer = writer(dir.path());
    writer.append(&[1; 900], 1).expect("append");
    writer.append(&[1; 900], 1).expect("append");
    let before = open_in(dir.path());

    fs::remove_file(writer.forget(1)).expect("removed");

    assert!(open_in(dir.path()) < before);
    assert!(writer.is_unsynced());
}
