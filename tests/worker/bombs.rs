//! What is refused before it is compiled, each with the bound and the way out; and what compilation itself
//! may cost.

use super::{exporting, refusal_of};
use redis_operator::policy::{LoadError, ShapeError};
use std::fmt::Write;
use std::time::{Duration, Instant};

/// `text` for each number, joined.
fn each(count: usize, text: impl Fn(usize) -> String) -> String {
    (0..count).map(text).collect()
}

/// One function of so many local variables, that jumps to one of so many places, each of which changes one
/// variable, and then begins again: every variable has a value of its own in every place.
fn switch(locals: usize, places: usize) -> String {
    let blocks = each(places, |place| format!("(block $b{place} "));
    let targets = each(places, |place| format!("$b{place} "));
    let after = each(places, |place| {
        let local = 1 + place % locals;
        format!(
            ") (local.set {local} (i32.add (local.get {local}) (local.get {})))",
            1 + (place + 7) % locals
        )
    });
    let sum =
        each(locals, |local| format!("(local.set 0 (i32.add (local.get 0) (local.get {})))", 1 + local));
    format!(
        "(func (export \"f\") (param i32) (result i32) (local {}) (loop $top {blocks} (br_table {targets} \
         (local.get 0)) {after} (br_if $top (local.get 1))) {sum} (local.get 0))",
        "i32 ".repeat(locals)
    )
}

fn shape_of(module: &str) -> ShapeError {
    let begun = Instant::now();
    match refusal_of(&exporting(module)) {
        LoadError::Shape(error) => {
            // Without optimisation the reader itself takes a while.
            assert!(begun.elapsed() < Duration::from_secs(20), "{error}: {:?}", begun.elapsed());
            error
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_component_that_contains_components_with_code_is_refused() {
    // Calls with strings from one inner component to another: their transcoding costs hours within the fuel.
    let nested = wat::parse_str(
        r#"(component
          (component $callee
            (core module $m (memory (export "m") 1)
              (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 0))
              (func (export "f") (param i32 i32)))
            (core instance $i (instantiate $m))
            (func (export "f") (param "s" string)
              (canon lift (core func $i "f") (memory $i "m") (realloc (func $i "realloc"))
                string-encoding=utf16)))
          (component $caller
            (import "f" (func $f (param "s" string)))
            (core module $libc (memory (export "m") 1))
            (core instance $libc (instantiate $libc))
            (core func $f (canon lower (func $f) (memory $libc "m")))
            (core module $m (import "" "f" (func $f (param i32 i32)))
              (func (export "go") (call $f (i32.const 0) (i32.const 60000))))
            (core instance $m (instantiate $m (with "" (instance (export "f" (func $f))))))
            (func (export "go") (canon lift (core func $m "go"))))
          (instance $callee (instantiate $callee))
          (instance $caller (instantiate $caller (with "f" (func $callee "f")))))"#,
    );
    let refused = refusal_of(&nested.unwrap());
    assert_eq!(refused, LoadError::Shape(ShapeError::Nested));
    assert!(refused.to_string().contains("a policy is a single component"), "{refused}");
}

#[test]
fn a_component_that_lowers_a_function_is_refused() {
    let lowering = wat::parse_str(
        r#"(component
          (core module $m (func (export "f")))
          (core instance $i (instantiate $m))
          (func $f (canon lift (core func $i "f")))
          (core func $g (canon lower (func $f))))"#,
    );
    assert_eq!(refusal_of(&lowering.unwrap()), LoadError::Shape(ShapeError::Calls));
}

#[test]
fn each_bound_on_the_code_has_a_refusal_that_names_it() {
    let nops = "(nop)".repeat(300_000);
    let refused = [
        (format!("(func {nops})"), "has 300002 bytes, and may have 262144"),
        (format!("(func (local {}))", "i32 ".repeat(5_000)), "has 5000 local variables, and may have 4096"),
        (
            format!("(func {})", "(block)".repeat(40_000)),
            "40000 blocks, loops and branches, and may have 32768",
        ),
        (
            format!("(func (block $b (br_table {} $b (i32.const 0))))", "$b ".repeat(9_000)),
            "jump tables (br_table) with 9001 targets, and may have 8192",
        ),
        (switch(2_000, 2_000), "2000 local variables and 4004 branches and targets"),
        (format!("(func (param {}))", "i32 ".repeat(200)), "200 parameters and 0 results"),
        (format!("(type (func (result {})))", "i32 ".repeat(20)), "0 parameters and 20 results"),
        ("(memory 2000)".to_owned(), "its memory has 131072000 bytes at the start, and may have 67108864"),
        ("(table 30000 funcref)".to_owned(), "its table has 30000 elements at the start, and may have 20000"),
        ("(func)".repeat(50_001), "contains more than 50000 functions"),
        (
            each(200_001, |number| format!("(global i32 (i32.const {number}))")),
            "more than 200000 types, imports, exports, segments and instances",
        ),
    ];
    for (module, why) in refused {
        let text = shape_of(&module).to_string();
        assert!(text.contains(why) && text.contains(": "), "{why}: {text}");
    }
    let modules = format!("(component {})", "(core module)".repeat(65));
    let text = refusal_of(&wat::parse_str(modules).unwrap()).to_string();
    assert!(text.contains("contains 65 core modules, and may contain 64: link them"), "{text}");
}

#[test]
fn more_code_in_all_than_a_policy_has_is_refused() {
    let mut module = String::new();
    for _ in 0..65 {
        write!(module, "(func {})", "(nop)".repeat(262_000)).unwrap();
    }
    assert_eq!(shape_of(&module), ShapeError::Code);
}

#[test]
fn the_worst_function_within_the_bounds_is_compiled_within_a_few_seconds() {
    let begun = Instant::now();
    for worst in [
        switch(990, 1_000),
        switch(100, 8_000),
        format!(
            "(func (param i32) (result i32) (local.get 0) {})",
            "(i32.add (i32.clz (local.get 0)))".repeat(50_000)
        ),
    ] {
        let begun = Instant::now();
        let refused = refusal_of(&exporting(&worst));
        assert!(matches!(refused, LoadError::Types(_)), "{refused}");
        println!("{:?}", begun.elapsed());
    }
    println!("{:?}", begun.elapsed());
}
