# fish completion of courierpy, which says itself what there is
courierpy completion fish 2>/dev/null | source
