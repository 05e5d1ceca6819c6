"""What the endpoints of devices were: readings that are recorded, stored in chunks, and asked for.

`codec` has the form of the bytes, `statistics` what is known of several readings, `calendar` where days begin. `tables`
says what a store does for it. `recorder` takes readings and writes them, `query` answers in a thread of `pool`,
`retention` deletes. `part` is the whole, as a manager has it.
"""
