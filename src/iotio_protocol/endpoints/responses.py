"""The words of the endpoints layer; those of iot.io 0.4.10 have its names and values (`iotio.Endpoint`)."""

from __future__ import annotations

from enum import Enum

__all__ = ["EndpointParseResponse", "EndpointType", "ValidationResponse"]


class ValidationResponse(Enum):
    """What became of a value; everything but VALID is also the `error` of the REST API."""

    VALID = "valid"
    INVALID_TYPE = "invalid_data_type"
    LOWER_THAN_MIN = "lower_than_min"
    HIGHER_THAN_MAX = "higher_than_max"
    INVALID_INCREMENT = "invalid_increment"
    INVALID_LENGTH = "invalid_length"
    VIOLATES_ALLOW_LIST = "violates_allow_list"
    VIOLATES_DENY_LIST = "violates_deny_list"
    INVALID_ENUM_VALUE = "invalid_enum_value"
    ENDPOINT_NOT_DEFINED_BY_CLIENT = "endpoint_not_defined_by_client"
    CLIENT_ENDPOINTS_NOT_INITIALIZED = "client_endpoints_not_initialized"
    CLIENT_NOT_CONNECTED = "client_not_connected"


class EndpointParseResponse(Enum):
    """What is wrong with a declaration: the `endpointProblem` of a v1 `client_invalid_endpoints` error.

    INVALID_STRUCTURE and those below it are ours: iot.io 0.4 ended the connection with a traceback where the
    declarations were not a list, or a declaration or its constraints not a JSON object, and it knew no units.
    """

    VALID = "valid"
    NO_ID_SPECIFIED = "no_id_specified"
    NO_TYPE_SPECIFIED = "no_type_specified"
    NO_NAME_SPECIFIED = "no_name_specified"
    INVALID_TYPE_SPECIFIED = "invalid_type_specified"
    ID_MUST_BE_STRING = "id_must_be_string"
    TYPE_MUST_BE_STRING = "type_must_be_string"
    NAME_MUST_BE_STRING = "name_must_be_string"
    SPECIAL_ID_MUST_BE_STRING = "special_id_must_be_string"
    CONSTRAINT_MIN_MUST_BE_INT = "constraint_min_must_be_integer"
    CONSTRAINT_MAX_MUST_BE_INT = "constraint_max_must_be_integer"
    CONSTRAINT_INCREMENT_MUST_BE_INT = "constraint_increment_must_be_integer"
    CONSTRAINT_LENGTH_MUST_BE_INT = "constraint_length_must_be_integer"
    CONSTRAINT_BOTH_ALLOW_LIST_AND_DENY_LIST_SPECIFIED = "constraint_both_allow_list_and_deny_list_specified"
    CONSTRAINT_LIST_MUST_BE_STRING_OR_LIST = "constraint_list_must_be_string_or_list"
    CONSTRAINT_LIST_MUST_ONLY_CONTAIN_STRINGS = "constraint_list_must_only_contain_strings"
    ENUM_TYPE_REQUIRES_VALUES_CONSTRAINT = "enum_type_requires_values_constraint"
    CONSTRAINT_VALUES_MUST_BE_DICT = "constraint_values_must_be_dict"
    CONSTRAINT_VALUES_KEYS_MUST_BE_STRINGS = "constraint_values_keys_must_be_strings"
    CONSTRAINT_VALUES_VALUES_MUST_BE_INT_OR_STRING = "constraint_values_values_must_be_int_or_string"
    INVALID_STRUCTURE = "invalid_structure"
    TOO_MANY_ENDPOINTS = "too_many_endpoints"
    UNIT_MUST_BE_STRING = "unit_must_be_string"
    UNIT_TOO_LONG = "unit_too_long"
    INVALID_ACCESS = "invalid_access"
    CLASS_MUST_BE_STRING = "class_must_be_string"
    TOTAL_MUST_BE_BOOLEAN = "total_must_be_boolean"
    HISTORY_MUST_BE_BOOLEAN = "history_must_be_boolean"
    CONSTRAINT_MIN_MUST_BE_NUMBER = "constraint_min_must_be_number"
    CONSTRAINT_MAX_MUST_BE_NUMBER = "constraint_max_must_be_number"
    CONSTRAINT_INCREMENT_MUST_BE_NUMBER = "constraint_increment_must_be_number"


class EndpointType(Enum):
    """The kinds of endpoint, as a declaration's `type` spells them."""

    BOOLEAN = "boolean"
    INTEGER = "integer"
    STRING = "string"
    ENUM = "enum"
    FLOAT = "float"
