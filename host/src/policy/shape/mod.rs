//! What a component contains, read before anything is compiled. Each bound refuses what no compiler for a
//! policy emits and what makes the engine's compiler slow, or its instances call each other past the fuel.
//! Whether the bytes are valid is `proposals.rs`' question. Knows nothing of policies.

mod function;

use serde::{Deserialize, Serialize};
use wasmparser::{CanonicalFunction, CompositeInnerType, Encoding, Parser, Payload, SectionLimited, TypeRef};

use super::configuration::{CORE_INSTANCES_MAX, MEMORY_BYTES_MAX, TABLE_ELEMENTS_MAX};

/// The names at the border of a component.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Border {
    pub imports: Vec<String>,
    pub exports: Vec<String>,
}

/// A bound that a component exceeds. Each text names the bound and the way out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum ShapeError {
    /// Composed of components.
    #[error(
        "it contains a component with code of its own, and a policy is a single component: link its parts \
         into one core module, and compose nothing (wac, wasm-tools compose)"
    )]
    Nested,
    /// Calls from component to component cost time that fuel does not measure.
    #[error(
        "it calls functions of components from within (canon lower), and a policy only exports functions: \
         build it without resources, async functions and composition"
    )]
    Calls,
    /// Core modules.
    #[error("it contains {0} core modules, and may contain {CORE_INSTANCES_MAX}: link them into one")]
    Modules(u64),
    /// Functions, in all.
    #[error(
        "it contains more than {FUNCTIONS_MAX} functions: build it with link-time optimisation, so that \
         unused functions are left out"
    )]
    Functions,
    /// Code, in all.
    #[error(
        "its functions have more than {CODE_BYTES_MAX} bytes of code: build it for size (opt-level \"s\", \
         -Os), with link-time optimisation"
    )]
    Code,
    /// Types, imports, exports, segments and the like, in all.
    #[error(
        "it has more than {ITEMS_MAX} types, imports, exports, segments and instances: build it with \
         link-time optimisation, so that unused ones are left out"
    )]
    Items,
    /// Parameters and results of a function or a block.
    #[error(
        "it has a function or block with {params} parameters and {results} results, and may have {PARAMS_MAX} \
         and {RESULTS_MAX}: pass more in memory"
    )]
    Signature {
        /// Its parameters.
        params: u64,
        /// Its results.
        results: u64,
    },
    /// The size of a function.
    #[error(
        "its function {function} has {bytes} bytes, and may have {FUNCTION_BYTES_MAX}: split it, or build with \
         less inlining (opt-level \"s\", -Os)"
    )]
    FunctionBytes {
        /// Its index among the functions of its module that have code.
        function: u32,
        /// Its size.
        bytes: u64,
    },
    /// The local variables of a function.
    #[error(
        "its function {function} has {locals} local variables, and may have {LOCALS_MAX}: split it, or build \
         with optimisation"
    )]
    Locals {
        /// As in [`ShapeError::FunctionBytes`].
        function: u32,
        /// With parameters.
        locals: u64,
    },
    /// The blocks of a function.
    #[error(
        "its function {function} has {blocks} blocks, loops and branches, and may have {BLOCKS_MAX}: split it, \
         or build with less inlining (opt-level \"s\", -Os)"
    )]
    Blocks {
        /// As in [`ShapeError::FunctionBytes`].
        function: u32,
        /// Blocks, loops, ifs, and branches.
        blocks: u64,
    },
    /// The targets of the jump tables of a function.
    #[error(
        "its function {function} has jump tables (br_table) with {targets} targets, and may have \
         {TARGETS_MAX}: split the function"
    )]
    Targets {
        /// As in [`ShapeError::FunctionBytes`].
        function: u32,
        /// Of all its jump tables.
        targets: u64,
    },
    /// Local variables times places where control flow meets: what a compiler's work grows with.
    #[error(
        "its function {function} has {locals} local variables and {edges} branches and targets, and their \
         product may be {FLOW_MAX}: split it, or build with less inlining (opt-level \"s\", -Os)"
    )]
    Flow {
        /// As in [`ShapeError::FunctionBytes`].
        function: u32,
        /// With parameters.
        locals: u64,
        /// Blocks, branches and targets of jump tables.
        edges: u64,
    },
    /// The initial size of a memory.
    #[error(
        "its memory has {0} bytes at the start, and may have {MEMORY_BYTES_MAX}: build it with a smaller \
         initial memory"
    )]
    Memory(u64),
    /// The initial size of a table.
    #[error(
        "its table has {0} elements at the start, and may have {TABLE_ELEMENTS_MAX}: build it with fewer \
         function pointers"
    )]
    Table(u64),
}

/// Why a component was not surveyed to its end.
#[derive(Debug)]
pub(super) enum Unfit {
    /// It exceeds a bound.
    Shape(ShapeError),
    /// It cannot be read.
    Unreadable(String),
}

impl From<wasmparser::Error> for Unfit {
    fn from(error: wasmparser::Error) -> Self {
        Unfit::Unreadable(error.to_string())
    }
}

impl From<ShapeError> for Unfit {
    fn from(error: ShapeError) -> Self {
        Unfit::Shape(error)
    }
}

/// Reads a component from its beginning to its end, and stops at the first bound that it exceeds.
///
/// # Errors
/// [`Unfit`].
pub(super) fn survey(component: &[u8]) -> Result<Border, Unfit> {
    let mut survey = Survey::default();
    for payload in Parser::new(0).parse_all(component) {
        survey.section(payload?)?;
    }
    Ok(survey.border)
}

#[derive(Default)]
struct Survey {
    border: Border,
    /// The components and modules around the present place, the outermost first.
    around: Vec<Encoding>,
    modules: u64,
    functions: u64,
    code_bytes: u64,
    items: u64,
    /// Functions with code so far in the present module.
    function: u32,
}

impl Survey {
    fn section(&mut self, payload: Payload<'_>) -> Result<(), Unfit> {
        let is_inner = self.around == [Encoding::Component, Encoding::Component];
        match payload {
            Payload::Version { encoding, .. } => self.enter(encoding)?,
            Payload::End(_) => drop(self.around.pop()),
            // An inner component of types and names is how tool chains give an exported interface its types.
            Payload::InstanceSection(_)
            | Payload::ComponentInstanceSection(_)
            | Payload::ComponentCanonicalSection(_)
            | Payload::ComponentStartSection { .. }
                if is_inner =>
            {
                return Err(ShapeError::Nested.into());
            }
            Payload::InstanceSection(section) => self.count(&section)?,
            Payload::ComponentInstanceSection(section) => self.count(&section)?,
            Payload::ComponentCanonicalSection(section) => {
                self.count(&section)?;
                for function in section {
                    if !matches!(function?, CanonicalFunction::Lift { .. }) {
                        return Err(ShapeError::Calls.into());
                    }
                }
            }
            Payload::ComponentImportSection(section) => {
                self.count(&section)?;
                if !is_inner {
                    for import in section {
                        self.border.imports.push(import?.name.name.to_owned());
                    }
                }
            }
            Payload::ComponentExportSection(section) => {
                self.count(&section)?;
                if !is_inner {
                    for export in section {
                        self.border.exports.push(export?.name.name.to_owned());
                    }
                }
            }
            Payload::ComponentTypeSection(section) => self.count(&section)?,
            Payload::ComponentAliasSection(section) => self.count(&section)?,
            Payload::CoreTypeSection(section) => self.count(&section)?,
            payload => self.module_section(payload)?,
        }
        Ok(())
    }

    fn module_section(&mut self, payload: Payload<'_>) -> Result<(), Unfit> {
        match payload {
            Payload::TypeSection(section) => {
                self.count(&section)?;
                for group in section {
                    for of_group in group?.into_types() {
                        if let CompositeInnerType::Func(function) = &of_group.composite_type.inner {
                            signature(function.params().len(), function.results().len())?;
                        }
                    }
                }
            }
            Payload::ImportSection(section) => {
                self.count(&section)?;
                for import in section.into_imports() {
                    match import?.ty {
                        TypeRef::Memory(of_memory) => memory(of_memory)?,
                        TypeRef::Table(of_table) => table(of_table.initial)?,
                        TypeRef::Func(_) | TypeRef::FuncExact(_) | TypeRef::Global(_) | TypeRef::Tag(_) => {}
                    }
                }
            }
            Payload::FunctionSection(section) => {
                self.functions += u64::from(section.count());
                if self.functions > FUNCTIONS_MAX {
                    return Err(ShapeError::Functions.into());
                }
            }
            Payload::TableSection(section) => {
                self.count(&section)?;
                section.into_iter().try_for_each(|found| Ok::<_, Unfit>(table(found?.ty.initial)?))?;
            }
            Payload::MemorySection(section) => {
                self.count(&section)?;
                section.into_iter().try_for_each(|found| Ok::<_, Unfit>(memory(found?)?))?;
            }
            Payload::GlobalSection(section) => self.count(&section)?,
            Payload::ExportSection(section) => self.count(&section)?,
            Payload::ElementSection(section) => self.count(&section)?,
            Payload::DataSection(section) => self.count(&section)?,
            Payload::CodeSectionEntry(body) => {
                self.code_bytes += body.range().len() as u64;
                if self.code_bytes > CODE_BYTES_MAX {
                    return Err(ShapeError::Code.into());
                }
                function::check(self.function, &body)?;
                self.function += 1;
            }
            // Sections without a list, or none of a component's: the validator's question. Wasmparser's enum
            // grows with the proposals, which are listed elsewhere.
            _ => {}
        }
        Ok(())
    }

    fn enter(&mut self, encoding: Encoding) -> Result<(), ShapeError> {
        // A module or a component in an inner component.
        if self.around.len() >= 2 {
            return Err(ShapeError::Nested);
        }
        self.around.push(encoding);
        self.function = 0;
        if encoding == Encoding::Module {
            self.modules += 1;
            if self.modules > u64::from(CORE_INSTANCES_MAX) {
                return Err(ShapeError::Modules(self.modules));
            }
        } else {
            self.items += 1;
        }
        Ok(())
    }

    fn count<T>(&mut self, section: &SectionLimited<'_, T>) -> Result<(), ShapeError> {
        self.items += u64::from(section.count());
        if self.items > ITEMS_MAX { Err(ShapeError::Items) } else { Ok(()) }
    }
}

fn signature(params: usize, results: usize) -> Result<(), ShapeError> {
    let (params, results) = (params as u64, results as u64);
    if params > PARAMS_MAX || results > RESULTS_MAX {
        return Err(ShapeError::Signature { params, results });
    }
    Ok(())
}

fn memory(of_memory: wasmparser::MemoryType) -> Result<(), ShapeError> {
    let bytes = of_memory.initial.saturating_mul(1 << of_memory.page_size_log2.unwrap_or(PAGE_LOG2).min(16));
    if bytes > MEMORY_BYTES_MAX as u64 { Err(ShapeError::Memory(bytes)) } else { Ok(()) }
}

fn table(elements: u64) -> Result<(), ShapeError> {
    if elements > TABLE_ELEMENTS_MAX as u64 { Err(ShapeError::Table(elements)) } else { Ok(()) }
}

/// A page has 64 KiB.
const PAGE_LOG2: u32 = 16;
/// The embedded policy has 424, jco's transpiler 8,207, an interpreter for Python some 20,000.
const FUNCTIONS_MAX: u64 = 50_000;
/// Half of the largest component is data.
const CODE_BYTES_MAX: u64 = 16 << 20;
/// Beside functions. An interpreter has some thousands.
const ITEMS_MAX: u64 = 200_000;
/// LLVM passes at most some dozens, and returns one.
const PARAMS_MAX: u64 = 128;
const RESULTS_MAX: u64 = 4;
use function::{BLOCKS_MAX, FLOW_MAX, FUNCTION_BYTES_MAX, LOCALS_MAX, TARGETS_MAX};
