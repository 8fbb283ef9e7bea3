//! Spark's data types as the protocol sends them (`spark/connect/types.proto` of Spark 4.2).

use prost::{Message, Oneof};

/// A data type.
#[derive(Clone, PartialEq, Message)]
pub(super) struct DataType {
    #[prost(
        oneof = "Kind",
        tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30"
    )]
    pub(crate) kind: Option<Kind>,
}

/// The kinds of [`DataType`].
#[derive(Clone, PartialEq, Oneof)]
pub(super) enum Kind {
    #[prost(message, tag = "1")]
    Null(Plain),
    #[prost(message, tag = "2")]
    Binary(Plain),
    #[prost(message, tag = "3")]
    Boolean(Plain),
    #[prost(message, tag = "4")]
    Byte(Plain),
    #[prost(message, tag = "5")]
    Short(Plain),
    #[prost(message, tag = "6")]
    Integer(Plain),
    #[prost(message, tag = "7")]
    Long(Plain),
    #[prost(message, tag = "8")]
    Float(Plain),
    #[prost(message, tag = "9")]
    Double(Plain),
    #[prost(message, tag = "10")]
    Decimal(Decimal),
    #[prost(message, tag = "11")]
    String(StringType),
    #[prost(message, tag = "12")]
    Char(Length),
    #[prost(message, tag = "13")]
    VarChar(Length),
    #[prost(message, tag = "14")]
    Date(Plain),
    #[prost(message, tag = "15")]
    Timestamp(Plain),
    #[prost(message, tag = "16")]
    TimestampNtz(Plain),
    #[prost(message, tag = "17")]
    CalendarInterval(Plain),
    #[prost(message, tag = "18")]
    YearMonthInterval(Interval),
    #[prost(message, tag = "19")]
    DayTimeInterval(Interval),
    #[prost(message, tag = "20")]
    Array(Box<Array>),
    #[prost(message, tag = "21")]
    Struct(Struct),
    #[prost(message, tag = "22")]
    Map(Box<Map>),
    #[prost(message, tag = "23")]
    Udt(Box<Udt>),
    #[prost(message, tag = "24")]
    Unparsed(Unparsed),
    #[prost(message, tag = "25")]
    Variant(Plain),
    #[prost(message, tag = "26")]
    Geometry(Spatial),
    #[prost(message, tag = "27")]
    Geography(Spatial),
    #[prost(message, tag = "28")]
    Time(Precision),
    #[prost(message, tag = "29")]
    TimestampNtzNanos(Precision),
    #[prost(message, tag = "30")]
    TimestampLtzNanos(Precision),
}

/// A type without parameters.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Plain {}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Decimal {
    #[prost(int32, optional, tag = "1")]
    pub(crate) scale: Option<i32>,
    #[prost(int32, optional, tag = "2")]
    pub(crate) precision: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct StringType {
    #[prost(string, tag = "2")]
    pub(crate) collation: String,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Length {
    #[prost(int32, tag = "1")]
    pub(crate) length: i32,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Precision {
    #[prost(int32, optional, tag = "1")]
    pub(crate) precision: Option<i32>,
}

/// An ANSI interval from one field to another.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Interval {
    #[prost(int32, optional, tag = "1")]
    pub(crate) start_field: Option<i32>,
    #[prost(int32, optional, tag = "2")]
    pub(crate) end_field: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Array {
    #[prost(message, optional, boxed, tag = "1")]
    pub(crate) element_type: Option<Box<DataType>>,
    #[prost(bool, tag = "2")]
    pub(crate) contains_null: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Struct {
    #[prost(message, repeated, tag = "1")]
    pub(crate) fields: Vec<StructField>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct StructField {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) data_type: Option<DataType>,
    #[prost(bool, tag = "3")]
    pub(crate) nullable: bool,
    /// A JSON object.
    #[prost(string, optional, tag = "4")]
    pub(crate) metadata: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Map {
    #[prost(message, optional, boxed, tag = "1")]
    pub(crate) key_type: Option<Box<DataType>>,
    #[prost(message, optional, boxed, tag = "2")]
    pub(crate) value_type: Option<Box<DataType>>,
    #[prost(bool, tag = "3")]
    pub(crate) value_contains_null: bool,
}

/// A user-defined type, sent as its `sql_type`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Udt {
    #[prost(string, optional, tag = "2")]
    pub(crate) jvm_class: Option<String>,
    #[prost(string, optional, tag = "3")]
    pub(crate) python_class: Option<String>,
    #[prost(string, optional, tag = "4")]
    pub(crate) serialized_python_class: Option<String>,
    #[prost(message, optional, boxed, tag = "5")]
    pub(crate) sql_type: Option<Box<DataType>>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Unparsed {
    #[prost(string, tag = "1")]
    pub(crate) data_type_string: String,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Spatial {
    #[prost(int32, tag = "1")]
    pub(crate) srid: i32,
}
