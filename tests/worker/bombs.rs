//! What is refused before it is compiled, each with the bound and the way out; and what compilation itself
//! may cost.

use super::{exporting, refusal_of};
use redis_operator::policy::{LoadError, ShapeError};
use std::time::{Duration, Instant};

/// A number as LEB128.
fn number(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(value & 0x7f).unwrap();
        value >>= 7;
        if value == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// With its length before it.
fn sized(bytes: &[u8]) -> Vec<u8> {
    [&number(bytes.len()), bytes].concat()
}

/// A module of equal functions of one i32 to an i32, each with so many local variables and this code. By
/// hand, because the text of millions of instructions takes longer to read than the bomb to refuse.
fn functions(count: usize, locals: usize, code: &[u8]) -> Vec<u8> {
    let locals = if locals == 0 { vec![0] } else { [&[1], &number(locals)[..], &[0x7f]].concat() };
    let body = sized(&[&locals, code, &[0x20, 0, 0x0b]].concat());
    let section = |id: u8, content: &[u8]| [&[id], &sized(content)[..]].concat();
    [
        b"\0asm\x01\0\0\0".to_vec(),
        section(1, &[1, 0x60, 1, 0x7f, 1, 0x7f]),
        section(3, &[number(count), vec![0; count]].concat()),
        section(10, &[number(count), body.repeat(count)].concat()),
    ]
    .concat()
}

/// Code that jumps to one of so many places, each of which changes one of the local variables, and then
/// begins again: every variable has a value of its own in every place.
fn switch(locals: usize, places: usize) -> Vec<u8> {
    let mut code = vec![0x03, 0x40];
    code.extend([0x02, 0x40].repeat(places));
    code.extend([&[0x20, 0, 0x0e], &number(places - 1)[..]].concat());
    code.extend((0..places).flat_map(number));
    for place in 0..places {
        let (one, other) = (number(1 + place % locals), number(1 + (place + 7) % locals));
        code.extend([&[0x0b, 0x20], &one[..], &[0x20], &other, &[0x6a, 0x21], &one].concat());
    }
    code.extend([0x20, 1, 0x0d, 0, 0x0b]);
    code
}

/// A component with that module.
fn within(module: &[u8]) -> Vec<u8> {
    let modules = exporting("");
    let empty = modules.windows(10).position(|bytes| bytes == b"\x01\x08\0asm\x01\0\0\0").unwrap();
    [&modules[..=empty], &sized(module), &modules[empty + 10..]].concat()
}

fn shape_of(component: &[u8]) -> ShapeError {
    match refusal_of(component) {
        LoadError::Shape(error) => error,
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
fn each_bound_on_the_code_has_a_refusal_that_names_it_before_anything_is_compiled() {
    const NOP: &[u8] = &[0x01];
    const BLOCK: &[u8] = &[0x02, 0x40, 0x0b];
    let table = |targets: usize| {
        [&[0x02, 0x40, 0x20, 0, 0x0e], &number(targets)[..], &vec![0; targets + 1], &[0x0b]].concat()
    };
    let text = |module: &str| exporting(module);
    let begun = Instant::now();
    let refused = [
        (within(&functions(1, 0, &NOP.repeat(300_000))), "has 300004 bytes, and may have 262144"),
        (within(&functions(1, 5_000, &[])), "has 5000 local variables, and may have 1024"),
        (
            within(&functions(1, 0, &BLOCK.repeat(20_000))),
            "20000 blocks, loops and branches, and may have 16384",
        ),
        (within(&functions(1, 0, &table(5_000))), "(br_table) with 5001 targets, and may have 4096"),
        (
            within(&functions(1, 1_000, &switch(1_000, 2_000))),
            "1000 local variables and 4003 branches and targets",
        ),
        (within(&functions(50_001, 0, &[])), "contains more than 50000 functions"),
        (within(&functions(65, 0, &NOP.repeat(262_000))), "have more than 16777216 bytes of code"),
        (text(&format!("(func (param {}))", "i32 ".repeat(200))), "200 parameters and 0 results"),
        (text(&format!("(type (func (result {})))", "i32 ".repeat(20))), "0 parameters and 20 results"),
        (text("(memory 2000)"), "its memory has 131072000 bytes at the start, and may have 67108864"),
        (text("(table 30000 funcref)"), "its table has 30000 elements at the start, and may have 20000"),
        (text(&"(global i32 (i32.const 0))".repeat(200_001)), "more than 200000 types, imports, exports"),
    ];
    for (component, why) in refused {
        let text = shape_of(&component).to_string();
        assert!(text.contains(why) && text.contains(": "), "{why}: {text}");
    }
    // Of a build without optimisation on a busy machine.
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    let modules = format!("(component {})", "(core module)".repeat(65));
    let text = refusal_of(&wat::parse_str(modules).unwrap()).to_string();
    assert!(text.contains("contains 65 core modules, and may contain 64: link them"), "{text}");
}

#[test]
fn a_bomb_within_the_bounds_ends_its_own_process_and_says_what_to_do() {
    // 450 values of each of 500 variables: some hundred megabytes, unless the compiler gets better.
    let refused = refusal_of(&within(&functions(1, 500, &switch(500, 450))));
    assert!(
        matches!(refused, LoadError::CompileMemory | LoadError::CompileTime | LoadError::Types(_)),
        "{refused}"
    );
    assert!(LoadError::CompileMemory.to_string().contains("320 MiB of memory; build it for size"));
    assert!(LoadError::CompileTime.to_string().contains("30 s of CPU time; build it for size"));
}
