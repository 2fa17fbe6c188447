//! A million routes: read from CSV and made a table, and looked up in no order, so that caches help little.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use moorline_b2bua::Wall;
use moorline_b2bua::policy::{Names, Routes, RoutesBuilder, Way};

const ROUTES: usize = 1_000_000;

/// Numbers that are looked up in turn: enough to reach all of the table.
const NUMBERS: usize = 1 << 20;

/// SplitMix64: every run has the same routes.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Prefixes of 5 to 10 digits, in no order, to 50 trunks.
fn file(prefixes: &[String]) -> String {
    let mut text = String::from("prefix,to\n");
    for (at, prefix) in prefixes.iter().enumerate() {
        // Writing into a string does not fail.
        let _written = writeln!(text, "{prefix},carrier-{}", at % 50);
    }
    text
}

fn prefixes() -> Vec<String> {
    let (mut state, mut seen, mut prefixes) = (1, BTreeSet::new(), Vec::with_capacity(ROUTES));
    while prefixes.len() < ROUTES {
        let digits = 5 + (random(&mut state) % 6) as u32;
        let number = random(&mut state) % 10u64.pow(digits);
        let prefix = format!("{number:0width$}", width = digits as usize);
        if seen.insert(prefix.clone()) {
            prefixes.push(prefix);
        }
    }
    prefixes
}

fn load(text: &str) -> Routes {
    let way = |name: &str| name.strip_prefix("carrier-").and_then(|trunk| trunk.parse().ok()).map(Way::Trunk);
    let mut builder = RoutesBuilder::default();
    let read = builder.read_csv(text.as_bytes(), &Names { trunk: &|_| None, way: &way });
    assert_eq!(read.map(|lines| lines.len()), Ok(ROUTES));
    builder.build().0
}

fn routes(criterion: &mut Criterion) {
    let prefixes = prefixes();
    let text = file(&prefixes);
    let mut group = criterion.benchmark_group("routes");
    group.sample_size(10);
    group.bench_function("load 1,000,000 from CSV", |bencher| bencher.iter(|| load(black_box(&text))));

    let table = load(&text);
    let at = Wall::default().local(0);
    let mut state = 2;
    let numbers: Vec<String> = (0..NUMBERS)
        .map(|_| {
            let prefix = &prefixes[(random(&mut state) % ROUTES as u64) as usize];
            format!("{prefix}{:05}", random(&mut state) % 100_000)
        })
        .collect();
    let mut next = 0;
    group.sample_size(100);
    group.bench_function("look up one of 1,000,000", |bencher| {
        bencher.iter(|| {
            next = (next + 1) % NUMBERS;
            table.find(0, black_box(numbers[next].as_bytes()), b"2000", at).is_some()
        });
    });
    group.finish();
}

criterion_group!(benches, routes);
criterion_main!(benches);
