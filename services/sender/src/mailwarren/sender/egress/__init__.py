"""What mail leaves from: egresses, each an address with a HELO name, in pools with weights (ADR 0036).

``EgressPlan`` is the file of an operator. ``Departures`` finds the egress of one mail: of the pool that its route
names, by the weights and by the mail alone, the one of its last attempt first. ``Leases`` takes the numbers of a
warm-up's days out of the control log. ``Checks`` looks whether an egress is what receivers expect: reverse DNS, HELO,
SPF.
``python -m mailwarren.sender.egress check`` says the same to a person.

**What can fail**: no egress is open for a mail, because its day's number is used up, its checks failed where that is
asked for, or its address is not this host's. The mail waits on the ladder at no cost of an attempt, and is never sent
from an egress that its route does not name. The broker is lost: no more numbers are given out, warm egresses go on.

**Who retries**: whoever takes the parcel from the ladder again; another sender may have the egress that this one lacks.
"""
